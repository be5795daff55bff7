"""The lines that join snapshots to a tree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from vms.models import Snapshot
from vms.snapshot_tree import tree

FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def drawn(parents: dict[str, str | None]) -> list[tuple[str, tuple[str, ...]]]:
    """Of snapshots that were taken in this order."""
    made: dict[str, Snapshot] = {}
    for number, (name, parent) in enumerate(parents.items()):
        stands_on = made[parent] if parent else None
        made[name] = Snapshot(name=name, parent=stands_on, created_at=FIRST + timedelta(hours=number))
    return [(branch.snapshot.name, branch.rails) for branch in tree(made.values(), None)]


def test_one_alone_has_no_lines() -> None:
    assert drawn({"a": None}) == [("a", ("",))]


def test_one_after_the_other_stand_in_one_line() -> None:
    assert drawn({"a": None, "b": "a", "c": "b"}) == [("a", ("s",)), ("b", ("ns",)), ("c", ("n",))]


def test_what_was_left_branches_off_and_the_line_passes_it() -> None:
    found = drawn({"a": None, "b": "a", "c": "b", "d": "a"})
    assert found == [("a", ("s",)), ("b", ("nse", "sw")), ("c", ("ns", "n")), ("d", ("n",))]


def test_two_branches_leave_from_one_place() -> None:
    found = drawn({"a": None, "b": "a", "c": "a", "d": "a"})
    assert found == [("a", ("s",)), ("b", ("nse", "ew", "w")), ("c", ("nse", "w")), ("d", ("n",))]


def test_those_that_stand_on_nothing_are_not_joined() -> None:
    assert drawn({"a": None, "b": None}) == [("a", ("",)), ("b", ("",))]
