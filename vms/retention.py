"""Which points in time are kept: pure, and the same for snapshots and backups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

MOST = 1000  # of each count

Bucket = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """How many are kept of the last ones, and of the last ones of each hour, day, ISO week and month; 0 counts nothing.

    Hours, days, weeks and months are those of `zone`. An hour that a change of the clocks brings twice is two hours.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    zone: str = "UTC"

    @property
    def keeps_any(self) -> bool:
        return any(count for count, _ in _counted(self))


def keep(points: Sequence[datetime], policy: Policy) -> set[datetime]:
    """Which of `points`, given in the order in which they were made, are kept; the others may go.

    Of each hour, day, week and month the newest is kept, as far back as the policy counts those that have one. What is
    newest the order says, and not the clock: one that was set back deletes nothing early, and what is dropped once
    would never be kept later. A policy that counts nothing keeps everything.
    """
    if not policy.keeps_any:
        return set(points)
    return {point for count, bucket in _counted(policy) for point in _newest_of_each(points, count, bucket, policy)}


def _newest_of_each(
    points: Sequence[datetime], count: int, bucket: Callable[[datetime], Bucket] | None, policy: Policy
) -> list[datetime]:
    zone, seen, kept = ZoneInfo(policy.zone), set[Bucket](), list[datetime]()
    for place, point in enumerate(reversed(points)):
        if len(seen) == count:
            break
        own = bucket(point.astimezone(zone)) if bucket else (place,)
        if own not in seen:
            seen.add(own)
            kept.append(point)
    return kept


def _counted(policy: Policy) -> list[tuple[int, Callable[[datetime], Bucket] | None]]:
    return [
        (policy.last, None),
        (policy.hourly, _hour),
        (policy.daily, lambda local: (local.year, local.month, local.day)),
        (policy.weekly, lambda local: local.isocalendar()[:2]),
        (policy.monthly, lambda local: (local.year, local.month)),
    ]


def _hour(local: datetime) -> Bucket:
    return (local.year, local.month, local.day, local.hour, local.fold)
