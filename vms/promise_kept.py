"""Whether what was promised of the CPU was kept, by what was measured. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hosts.service_class import WHOLE, Promise

LACK_PERCENT = 5  # of its floor: less than that is the error of the measure, and of the moment
CLOSE_PERCENT = 125  # of its floor: who has to wait and gets less than that is close to it
WAITING_PERCENT = 2  # of the time that it wanted to run
TIME_PERCENT = 5  # of a longer time: what happened for less of it does not count for the whole


class Kept(StrEnum):
    """NOTHING: there is no floor that could be broken. UNKNOWN: nothing was measured."""

    KEPT = "kept"
    AT_RISK = "at risk"
    BROKEN = "broken"
    NOTHING = "nothing promised"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds: how long was measured, the time its vCPUs ran and waited, and for how long its promise was at risk,
    or broken. Sums of these are those of a longer time."""

    length_ms: int = 0
    cpu_ms: int = 0
    wait_ms: int = 0
    risk_ms: int = 0
    broken_ms: int = 0

    @property
    def waited_percent(self) -> float:
        """Of the time that it wanted to run."""
        wanted_ms = self.cpu_ms + self.wait_ms
        return 100 * self.wait_ms / wanted_ms if wanted_ms else 0.0


def measured(promise: Promise, length_ms: int, cpu_ms: int, wait_ms: int) -> Measured:
    """Of one short interval. Waiting that its own ceiling makes is none."""
    most_ms = promise.vcpus * length_ms * (promise.cpu_ceiling or WHOLE) // WHOLE
    waited_ms = max(0, min(wait_ms, most_ms - cpu_ms))
    found = _judged(promise, length_ms, cpu_ms, waited_ms)
    at_risk, broken = (length_ms if found is each else 0 for each in (Kept.AT_RISK, Kept.BROKEN))
    return Measured(length_ms, cpu_ms, waited_ms, at_risk, broken)


def _judged(promise: Promise, length_ms: int, cpu_ms: int, waited_ms: int) -> Kept:
    """A guest that wants little and waits for a moment is denied nothing; one that gets less than its floor is."""
    floor_ms = promise.vcpus * length_ms * (promise.cpu_floor or 0) // WHOLE
    wanted_ms = cpu_ms + waited_ms
    if 100 * (min(wanted_ms, floor_ms) - cpu_ms) > LACK_PERCENT * floor_ms:
        return Kept.BROKEN
    is_close = floor_ms <= wanted_ms and 100 * cpu_ms < CLOSE_PERCENT * floor_ms
    return Kept.AT_RISK if is_close and 100 * waited_ms >= WAITING_PERCENT * wanted_ms else Kept.KEPT


def verdict(found: Measured, floor: int | None) -> Kept:
    """Of any length of time."""
    if not found.length_ms:
        return Kept.UNKNOWN
    if not floor:
        return Kept.NOTHING
    if 100 * found.broken_ms > TIME_PERCENT * found.length_ms:
        return Kept.BROKEN
    is_at_risk = 100 * (found.broken_ms + found.risk_ms) > TIME_PERCENT * found.length_ms
    return Kept.AT_RISK if is_at_risk else Kept.KEPT
