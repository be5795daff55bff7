"""When machines are switched on and off by their hours."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.test_rhythm import SOME_ZONES, at, moments
from vms.office_hours import Hours, Switch, following, latest
from vms.rhythm import Every, Rhythm

OFFICE = Hours(Rhythm(Every.WORKDAY, time(8, 0), "Europe/Berlin"), time(18, 0))
NIGHT = Hours(Rhythm(Every.DAY, time(22, 0), "Europe/Berlin"), time(6, 0))
minutes = st.times().map(lambda each: each.replace(second=0, microsecond=0))
some_hours = st.builds(
    Hours,
    rhythm=st.builds(
        Rhythm,
        every=st.sampled_from([Every.DAY, Every.WORKDAY, Every.WEEK]),
        at=minutes,
        zone=st.sampled_from(SOME_ZONES),
        weekday=st.integers(0, 6),
    ),
    until=minutes,
).filter(lambda hours: hours.until != hours.rhythm.at)


@pytest.mark.parametrize(
    ("hours", "after", "then", "on"),
    [
        (OFFICE, "2026-11-27 06:59", "2026-11-27 07:00", True),
        (OFFICE, "2026-11-27 07:00", "2026-11-27 17:00", False),
        (OFFICE, "2026-11-27 17:00", "2026-11-30 07:00", True),  # over the weekend
        (OFFICE, "2026-03-27 17:00", "2026-03-30 06:00", True),  # over the weekend that has the change of clocks
        (OFFICE, "2026-10-23 16:00", "2026-10-26 07:00", True),
        (NIGHT, "2026-11-27 21:30", "2026-11-28 05:00", False),
        (NIGHT, "2026-03-28 21:30", "2026-03-29 04:00", False),  # a night of seven hours
        (NIGHT, "2026-10-24 20:30", "2026-10-25 05:00", False),  # and one of nine
        # at 02:10 and 02:50 of 2026-03-29 no clock was shown that; they are an hour later
        (
            Hours(Rhythm(Every.DAY, time(2, 10), "Europe/Berlin"), time(2, 50)),
            "2026-03-29 01:30",
            "2026-03-29 01:50",
            False,
        ),
        # 02:30 to 03:15 would end before it begins there, so it waits for the day after
        (
            Hours(Rhythm(Every.DAY, time(2, 30), "Europe/Berlin"), time(3, 15)),
            "2026-03-29 00:00",
            "2026-03-30 00:30",
            True,
        ),
    ],
)
def test_following(hours: Hours, after: str, then: str, on: bool) -> None:
    assert following(hours, at(after)) == Switch(at(then), on=on)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(some_hours, moments)
def test_switches_alternate_and_none_is_passed_over(hours: Hours, moment: datetime) -> None:
    """What a machine should be is what the last switch made it, until the next."""
    last, then = latest(hours, moment), following(hours, moment)
    assert last.at <= moment < then.at
    assert last.on != then.on
    assert latest(hours, then.at) == then
    assert following(hours, last.at) == then
    assert latest(hours, then.at - timedelta(microseconds=1)) == last


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(some_hours, moments)
def test_on_days_of_the_rhythm_alone(hours: Hours, moment: datetime) -> None:
    found = following(hours, moment)
    begin = found if found.on else latest(hours, moment)
    local = begin.at.astimezone(ZoneInfo(hours.rhythm.zone))
    if local.time() == hours.rhythm.at:  # not moved by a change of the clocks
        assert hours.rhythm.is_on(local.date())


def test_hours_are_utc() -> None:
    assert following(OFFICE, at("2026-11-27 06:59")).at.tzinfo is UTC
