"""When schedules are due."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.rhythm import LONGEST, Every, Rhythm, following, zones

SOME_ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"]
rhythms = st.builds(
    Rhythm,
    every=st.sampled_from(list(Every)),
    at=st.times().map(lambda at: at.replace(second=0, microsecond=0)),
    zone=st.sampled_from(SOME_ZONES),
    weekday=st.integers(0, 6),
)
moments = st.datetimes(datetime(2010, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("rhythm", "after", "then"),
    [
        (Rhythm(Every.HOUR, time(0, 15)), "2026-01-01 10:14:59", "2026-01-01 10:15"),
        (Rhythm(Every.HOUR, time(0, 15)), "2026-01-01 10:15", "2026-01-01 11:15"),
        (Rhythm(Every.HOUR, time(0, 0), "Asia/Kathmandu"), "2026-01-01 10:14", "2026-01-01 10:15"),
        (Rhythm(Every.DAY, time(3, 0)), "2026-01-01 03:00", "2026-01-02 03:00"),
        (Rhythm(Every.DAY, time(3, 0), "Europe/Berlin"), "2026-07-01 00:59", "2026-07-01 01:00"),
        (Rhythm(Every.WEEK, time(3, 0), weekday=6), "2026-12-27 03:00", "2027-01-03 03:00"),
        # the clocks skip 02:30 on 2026-03-29, and show it twice on 2026-10-25
        (Rhythm(Every.DAY, time(2, 30), "Europe/Berlin"), "2026-03-28 12:00", "2026-03-29 01:30"),
        (Rhythm(Every.DAY, time(2, 30), "Europe/Berlin"), "2026-10-24 12:00", "2026-10-25 00:30"),
        (Rhythm(Every.DAY, time(2, 30), "Europe/Berlin"), "2026-10-25 00:30", "2026-10-26 01:30"),
    ],
)
def test_following(rhythm: Rhythm, after: str, then: str) -> None:
    assert following(rhythm, at(after)) == at(then)


@given(rhythms, moments)
def test_it_is_later_and_not_too_late(rhythm: Rhythm, after: datetime) -> None:
    found = following(rhythm, after)
    assert after < found <= after + LONGEST[rhythm.every]


@given(rhythms, moments)
def test_none_is_passed_over(rhythm: Rhythm, after: datetime) -> None:
    """From any moment before it, it is the next one."""
    found = following(rhythm, after)
    assert following(rhythm, after + (found - after) / 2) == found
    assert following(rhythm, found - timedelta(microseconds=1)) == found


@given(rhythms, moments)
def test_the_clock_shows_that_time(rhythm: Rhythm, after: datetime) -> None:
    zone = ZoneInfo(rhythm.zone)
    found = following(rhythm, after)
    local = found.astimezone(zone)
    if rhythm.every is Every.HOUR:
        assert local.minute == rhythm.at.minute
        return
    is_skipped = local.replace(tzinfo=None, fold=0).time() != rhythm.at
    wall = datetime.combine(local.date(), rhythm.at, zone)
    assert not is_skipped or wall.astimezone(UTC).astimezone(zone).time() != rhythm.at
    if rhythm.every is Every.WEEK and not is_skipped:
        assert local.weekday() == rhythm.weekday


def test_zones_are_places() -> None:
    assert {"UTC", "Europe/Berlin", "America/New_York"} <= zones()
    assert not {"localtime", "Factory", "Mars/X", "", "../etc/passwd", "/etc/localtime", "posixrules"} & zones()
