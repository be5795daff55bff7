"""The guarantee card as pages show it: plain values, decided once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hosts.overcommit import OverCommit
from vms import promise_words
from vms.guarantee import Guarantee, Waiting
from vms.promise_kept import Kept

_LOOKS = {
    Kept.KEPT: "running",
    Kept.AT_RISK: "attention",
    Kept.BROKEN: "failed",
    Kept.NOTHING: "stopped",
    Kept.UNKNOWN: "stopped",
}


@dataclass(frozen=True)
class HourCell:
    """One hour of the strip; `left` and `label` are its place and its words."""

    look: str
    left: int
    label: str


@dataclass(frozen=True)
class WaitingView:
    word: str
    look: str
    words: str
    cells: Sequence[HourCell]
    summary: str


@dataclass(frozen=True)
class Card:
    """`waiting` and `newest_backup` are those of a machine; `has_backups` is False for a size."""

    name: str
    short: str
    floor: str
    ceiling: str
    memory: str
    shared: Sequence[str]
    meaning: str
    on_host_failure: str
    has_backups: bool
    schedules: Sequence[str]
    newest_backup: datetime | None
    waiting: WaitingView | None


def card(found: Guarantee) -> Card:
    words, backups = found.words, found.backups
    return Card(
        name=words.name,
        short=words.short,
        floor=words.floor,
        ceiling=words.ceiling,
        memory=words.memory,
        shared=shared(found.over_commit, named=False),
        meaning=found.meaning,
        on_host_failure=found.on_host_failure,
        has_backups=backups is not None,
        schedules=backups.schedules if backups else (),
        newest_backup=backups.newest if backups else None,
        waiting=_waiting(found.waiting) if found.waiting else None,
    )


def shared(present: Sequence[OverCommit], *, named: bool = True) -> Sequence[str]:
    """How far CPUs are shared, a sentence for each cluster."""
    return [promise_words.cpu_shared(each, named=named) for each in present]


def _waiting(found: Waiting) -> WaitingView:
    cells = [
        HourCell(_LOOKS[hour.kept], 10 * place, f"{hour.at:%H}:00 UTC: {hour.kept}, waited {hour.waited_percent:g} %")
        for place, hour in enumerate(found.hours)
    ]
    return WaitingView(
        word=str(found.kept),
        look=_LOOKS[found.kept],
        words=promise_words.waited(found.kept, found.waited_percent),
        cells=cells,
        summary=_summary(found),
    )


def _summary(found: Waiting) -> str:
    """The strip for whoever does not see it."""
    if not found.hours:
        return ""
    counts = [(kept, sum(hour.kept is kept for hour in found.hours)) for kept in (Kept.BROKEN, Kept.AT_RISK)]
    bad = [f"{kept} in {number}" for kept, number in counts if number]
    if len(found.hours) == 1:
        return f"In the one hour that was measured: {found.hours[0].kept}."
    return f"Of the last {len(found.hours)} hours that were measured: {' and '.join(bad) if bad else 'kept in all'}."
