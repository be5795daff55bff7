"""When a schedule is due: pure. Times are a zone's own, as its clocks show them on that day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from zoneinfo import ZoneInfo, available_timezones


class Every(StrEnum):
    HOUR = "hourly"
    DAY = "daily"
    WORKDAY = "workdays"
    WEEK = "weekly"


# The longest time from one to the next: a day may have 25 hours, and the zone's clocks may move more than once.
LONGEST = {
    Every.HOUR: timedelta(hours=2),
    Every.DAY: timedelta(hours=50),
    Every.WORKDAY: timedelta(days=5),
    Every.WEEK: timedelta(days=8),
}
SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Each hour at the minute of `at`; at `at` each day, Monday to Friday, or each week on `weekday` (0: Monday)."""

    every: Every
    at: time
    zone: str = "UTC"
    weekday: int | None = None

    def is_on(self, day: date) -> bool:
        """Whether it comes on that day."""
        if self.every is Every.WORKDAY:
            return day.weekday() < SATURDAY
        return self.every is not Every.WEEK or day.weekday() == self.weekday


@cache
def zones() -> frozenset[str]:
    """The names of the time zones that there are: places, and UTC. Not what a machine happens to call its own."""
    return frozenset(name for name in available_timezones() if "/" in name or name == "UTC")


def following(rhythm: Rhythm, after: datetime) -> datetime:
    """The first time after `after`, in UTC."""
    if rhythm.every is Every.HOUR:
        return _following_hour(rhythm, after)
    day = after.astimezone(ZoneInfo(rhythm.zone)).date() - timedelta(days=1)
    while True:
        if rhythm.is_on(day) and (found := instant(day, rhythm.at, rhythm.zone)) > after:
            return found
        day += timedelta(days=1)


def instant(day: date, at: time, zone: str) -> datetime:
    """When the zone's clocks show `at` on that day, in UTC.

    A time that the clocks skip on a day is taken by the offset before, so that it is as long after the last as ever; of
    one that they show twice the first is meant.
    """
    return datetime.combine(day, at.replace(second=0, microsecond=0, fold=0), ZoneInfo(zone)).astimezone(UTC)


def _following_hour(rhythm: Rhythm, after: datetime) -> datetime:
    """Not each zone's hours begin with those of UTC, and a change of its clocks may be of half an hour."""
    zone = ZoneInfo(rhythm.zone)
    found = after.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    while (ahead := (rhythm.at.minute - found.astimezone(zone).minute) % 60) != 0:
        found += timedelta(minutes=min(ahead, 30))
    return found
