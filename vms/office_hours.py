"""When machines are switched on and off by the clock: pure. Times are a zone's own, as `rhythm` takes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from vms.rhythm import Rhythm, instant

# Days to look at on either side: two weeks, for the clocks may skip the hours of one, and what zones differ.
_AROUND = 16


class Switch(NamedTuple):
    """On or off, and when, in UTC."""

    at: datetime
    on: bool


@dataclass(frozen=True, slots=True)
class Hours:
    """On at the rhythm's time on each of its days, and off at the next `until`, which may be on the day after.

    Each hour makes no sense. Hours that the zone's clocks skip altogether are none.
    """

    rhythm: Rhythm
    until: time


def following(hours: Hours, after: datetime) -> Switch:
    """The first switch after `after`."""
    return min(switch for switch in _around(hours, after) if switch.at > after)


def latest(hours: Hours, now: datetime) -> Switch:
    """The last switch until `now`: what a machine should be by its hours, whatever was missed."""
    return max(switch for switch in _around(hours, now) if switch.at <= now)


def _around(hours: Hours, moment: datetime) -> Iterator[Switch]:
    rhythm = hours.rhythm
    for ahead in range(-_AROUND, _AROUND + 1):
        day = moment.date() + timedelta(days=ahead)
        if rhythm.is_on(day):
            yield from _of(hours, day)


def _of(hours: Hours, day: date) -> Iterator[Switch]:
    rhythm = hours.rhythm
    last = day if hours.until > rhythm.at else day + timedelta(days=1)
    begin, end = instant(day, rhythm.at, rhythm.zone), instant(last, hours.until, rhythm.zone)
    if begin < end:
        yield Switch(begin, on=True)
        yield Switch(end, on=False)
