"""When a schedule is due: pure. Times are a zone's own, as its clocks show them on that day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from zoneinfo import ZoneInfo, available_timezones


class Every(StrEnum):
    HOUR = "hourly"
    DAY = "daily"
    WEEK = "weekly"


# The longest time from one to the next: a day may have 25 hours, and the zone's clocks may move more than once.
LONGEST = {Every.HOUR: timedelta(hours=2), Every.DAY: timedelta(hours=50), Every.WEEK: timedelta(days=8)}


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Each hour at the minute of `at`, each day at `at`, or each week at `at` on `weekday` (0 is Monday)."""

    every: Every
    at: time
    zone: str = "UTC"
    weekday: int | None = None


@cache
def zones() -> frozenset[str]:
    """The names of the time zones that there are: places, and UTC. Not what a machine happens to call its own."""
    return frozenset(name for name in available_timezones() if "/" in name or name == "UTC")


def following(rhythm: Rhythm, after: datetime) -> datetime:
    """The first time after `after`, in UTC.

    A time that the clocks skip on a day is taken by the offset before, so that it is as long after the last as ever; of
    one that they show twice the first is meant.
    """
    if rhythm.every is Every.HOUR:
        return _following_hour(rhythm, after)
    zone = ZoneInfo(rhythm.zone)
    day = after.astimezone(zone).date() - timedelta(days=1)
    while True:
        is_day = rhythm.every is Every.DAY or day.weekday() == rhythm.weekday
        found = datetime.combine(day, rhythm.at.replace(second=0, microsecond=0, fold=0), zone).astimezone(UTC)
        if is_day and found > after:
            return found
        day += timedelta(days=1)


def _following_hour(rhythm: Rhythm, after: datetime) -> datetime:
    """Not each zone's hours begin with those of UTC, and a change of its clocks may be of half an hour."""
    zone = ZoneInfo(rhythm.zone)
    found = after.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    while (ahead := (rhythm.at.minute - found.astimezone(zone).minute) % 60) != 0:
        found += timedelta(minutes=min(ahead, 30))
    return found
