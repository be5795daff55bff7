"""What is kept: by examples, and for all histories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.retention import Policy, keep

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"]
START = datetime(2026, 3, 1, tzinfo=UTC)
counts = st.integers(0, 8)
policies = st.builds(
    Policy, last=counts, hourly=counts, daily=counts, weekly=counts, monthly=counts, zone=st.sampled_from(ZONES)
)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
histories = st.lists(moments, max_size=60, unique=True).map(sorted)
# the clock goes on, jumps ahead and is set back
jumps = st.lists(st.integers(-72 * 60, 72 * 60).filter(bool), max_size=60)


def days(count: int, **start: int) -> list[datetime]:
    return [START.replace(**start) + timedelta(days=n) for n in range(count)]


def made_by(minutes: list[int]) -> list[datetime]:
    """Points by a clock that goes by these steps; no two at one moment."""
    found: dict[datetime, None] = {}
    now = START
    for step in minutes:
        now += timedelta(minutes=step)
        found.setdefault(now)
    return list(found)


def test_last_ones() -> None:
    points = days(10)
    assert keep(points, Policy(last=3)) == set(points[-3:])


def test_the_newest_of_each_day_is_kept() -> None:
    points = [START + timedelta(hours=6 * n) for n in range(4 * 10)]
    assert keep(points, Policy(daily=3)) == {points[-1], points[-5], points[-9]}


def test_days_without_a_point_count_for_nothing() -> None:
    points = [START, START + timedelta(days=40), START + timedelta(days=41)]
    assert keep(points, Policy(daily=3)) == set(points)


def test_months_end_where_they_end() -> None:
    ends = [datetime(2028, *end, 23, 59, tzinfo=UTC) for end in ((1, 31), (2, 29), (3, 31), (4, 30))]
    begins = [end + timedelta(minutes=1) for end in ends]
    points = [point for pair in zip(ends, begins, strict=True) for point in pair]
    assert keep(points, Policy(monthly=12)) == {*ends, begins[-1]}


def test_weeks_are_those_of_iso_over_the_turn_of_a_year() -> None:
    points = [datetime(2026, 12, 28, tzinfo=UTC) + timedelta(days=n) for n in range(14)]
    assert keep(points, Policy(weekly=5)) == {points[6], points[13]}  # 2026-W53 and 2027-W01


def test_a_day_is_the_zones_own() -> None:
    points = [datetime(2026, 5, 1, hour, 30, tzinfo=UTC) for hour in (21, 22, 23)]
    assert keep(points, Policy(daily=9)) == {points[-1]}
    assert keep(points, Policy(daily=9, zone="Europe/Berlin")) == {points[0], points[-1]}


def test_an_hour_that_comes_twice_is_two_hours() -> None:
    """2026-10-25: Berlin's clocks go from 03:00 back to 02:00."""
    points = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)]
    assert keep(points, Policy(hourly=9, zone="Europe/Berlin")) == set(points)


def test_a_day_of_25_hours_is_one_day_and_so_is_one_of_23() -> None:
    for first in (datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 3, 28, 23, tzinfo=UTC)):
        length = 25 if first.month == 10 else 23
        points = [first + timedelta(hours=n) for n in range(length)]
        assert keep(points, Policy(daily=9, zone="Europe/Berlin")) == {points[-1]}


def test_a_clock_that_was_set_back_does_not_drop_what_was_just_made() -> None:
    """Points of a year that has not come yet would all be newer by their time."""
    wrong = days(5, year=2031)
    right = days(3)
    assert keep([*wrong, *right], Policy(last=3)) == set(right)
    assert keep([*wrong, right[0]], Policy(daily=4)) == {*wrong[-3:], right[0]}


def test_a_policy_that_counts_nothing_keeps_everything() -> None:
    assert keep(days(5), Policy()) == set(days(5))


@given(histories, policies)
def test_nothing_is_made_up_and_the_newest_stays(points: list[datetime], policy: Policy) -> None:
    kept = keep(points, policy)
    assert kept <= set(points)
    assert not points or points[-1] in kept
    assert set(points[-policy.last :] if policy.last else []) <= kept


@given(jumps, policies)
def test_what_is_kept_is_kept_again(minutes: list[int], policy: Policy) -> None:
    points = made_by(minutes)
    kept = keep(points, policy)
    assert keep([point for point in points if point in kept], policy) == kept


@given(jumps, policies)
def test_what_was_dropped_on_the_way_would_not_be_wanted_in_the_end(minutes: list[int], policy: Policy) -> None:
    """Whatever the clock does: pruned after each point, the same is left as pruned once."""
    points, there = made_by(minutes), list[datetime]()
    for point in points:
        there.append(point)
        kept = keep(there, policy)
        there = [each for each in there if each in kept]
    assert set(there) == keep(points, policy)


@given(jumps, policies, policies)
def test_who_asks_for_more_gets_no_less(minutes: list[int], one: Policy, more: Policy) -> None:
    points = made_by(minutes)
    fields = ("last", "hourly", "daily", "weekly", "monthly")
    larger = Policy(**{name: max(getattr(one, name), getattr(more, name)) for name in fields}, zone=one.zone)
    if one.keeps_any:
        assert keep(points, one) <= keep(points, larger)


@pytest.mark.parametrize("zone", ZONES)
def test_each_of_the_last_days_has_one(zone: str) -> None:
    """Hourly points over a year with both changes of the clocks: no day of the last 30 is without."""
    points = [START + timedelta(hours=n) for n in range(24 * 370)]
    kept = sorted(keep(points, Policy(daily=30, zone=zone)))
    assert len(kept) == 30
    for earlier, later in pairwise(kept[:-1]):
        assert timedelta(hours=22) < later - earlier < timedelta(hours=49)
