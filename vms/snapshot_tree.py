"""Snapshots as a tree in lines, oldest first: who stands where, and which lines pass beside it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from vms.models import Snapshot


@dataclass(frozen=True)
class Branch:
    """A snapshot in the tree, `depth` branchings to the right. `is_here`: what the machine is now stands on it.

    `rails` are the lines in each column up to its own: the sides to which each goes, of "n", "s", "e" and "w".
    """

    snapshot: Snapshot
    depth: int
    is_here: bool
    rails: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class _Place:
    """`came_from` is the column of what it stands on; None where that is nothing that is listed."""

    snapshot: Snapshot
    column: int
    came_from: int | None

    @property
    def goes_on_straight(self) -> bool:
        return self.column == self.came_from


def tree(snapshots: Iterable[Snapshot], here: UUID | None) -> list[Branch]:
    """From the oldest down. A line goes on straight below; only where it branches does the newer line move right."""
    children: dict[UUID | None, list[Snapshot]] = {}
    all_of_them = sorted(snapshots, key=lambda each: (each.created_at, each.pk))
    known = {each.pk for each in all_of_them}
    for each in all_of_them:
        children.setdefault(each.parent_id if each.parent_id in known else None, []).append(each)
    places = list(_walk(children, None, None))
    return [
        Branch(place.snapshot, place.column, place.snapshot.pk == here, _rails(place, places[number + 1 :]))
        for number, place in enumerate(places)
    ]


def _walk(
    children: Mapping[UUID | None, list[Snapshot]], parent: UUID | None, came_from: int | None
) -> Iterator[_Place]:
    """The branches that were left first, the line that was gone on with last: it stays in its column."""
    below = children.get(parent, [])
    for position, each in enumerate(below):
        column = 0 if came_from is None else came_from + len(below) - 1 - position
        yield _Place(each, column, came_from)
        yield from _walk(children, each.pk, column)


def _rails(place: _Place, later: list[_Place]) -> tuple[str, ...]:
    passing = [_passing(place, column, later) for column in range(place.column)]
    north = "n" if place.goes_on_straight else ""
    south = "s" if _goes_on(place.column, later) else ""
    west = "w" if place.came_from is not None and not place.goes_on_straight else ""
    return (*passing, north + south + west)


def _passing(place: _Place, column: int, later: list[_Place]) -> str:
    vertical = "ns" if _goes_on(column, later) else ""
    if place.came_from is None or column < place.came_from or place.goes_on_straight:
        return vertical
    return vertical + ("e" if column == place.came_from else "ew")


def _goes_on(column: int, later: list[_Place]) -> bool:
    """Whether what stands in the column is gone on with below, past what lies to its right."""
    following = next((each for each in later if each.column <= column), None)
    return following is not None and following.column == column and following.goes_on_straight
