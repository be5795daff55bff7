"""The rule of the stages, for itself: none comes early, none is passed over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vms.lease import NOTICE, Lease, Stage, Terms, furthest, next_at, usual_end

END = datetime(2026, 6, 15, 12, tzinfo=UTC)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
terms = st.builds(Terms, warn_days=st.integers(1, 90), off_days=st.integers(0, 90))
looks = st.lists(st.integers(0, 400 * 24), min_size=1, max_size=20).map(sorted)


def days(count: float) -> timedelta:
    return timedelta(days=count)


def test_in_time() -> None:
    lease = Terms(warn_days=7, off_days=3)
    assert next_at(Lease(END, Stage.RUNNING, None), lease) == END - days(7)
    assert next_at(Lease(END, Stage.WARNED, END - days(7)), lease) == END
    assert next_at(Lease(END, Stage.ENDED, END), lease) == END
    assert next_at(Lease(END, Stage.KEPT, END + days(0.1)), lease) == END + days(3.1)
    assert next_at(Lease(END, Stage.BINNED, END + days(3.1)), lease) is None


def test_a_warning_that_came_late_gives_a_day_all_the_same() -> None:
    assert next_at(Lease(END, Stage.WARNED, END + days(5)), Terms()) == END + days(6)


def test_a_short_one_is_warned_in_its_second_half() -> None:
    def warned(length: float) -> float:
        """Days after its beginning."""
        found = next_at(Lease(EPOCH + days(length), Stage.RUNNING, EPOCH), Terms(warn_days=7))
        assert found is not None
        return (found - EPOCH) / days(1)

    assert [warned(length) for length in (30, 14, 8, 4, 2, 1.5, 1)] == [23, 7, 4, 2, 1, 0.5, 0]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(terms, looks)
def test_whenever_the_clock_looks(terms: Terms, hours: list[int]) -> None:
    """A clock that looks at any times, each time at one stage, as the real one does."""
    lease, order = Lease(EPOCH + days(30), Stage.RUNNING, None), list(Stage)
    began: dict[Stage, datetime] = {}
    for now in (EPOCH + timedelta(hours=hour) for hour in hours):
        due = next_at(lease, terms)
        if due is not None and due <= now:
            stage = order[order.index(lease.stage) + 1]
            began[stage] = now
            lease = Lease(lease.expires_at, stage, now)
    assert list(began) == order[1 : 1 + len(began)]
    if Stage.ENDED in began:
        assert began[Stage.ENDED] >= max(lease.expires_at, began[Stage.WARNED] + NOTICE)
    if Stage.BINNED in began:
        assert began[Stage.BINNED] >= began[Stage.KEPT] + days(terms.off_days)


def test_ends() -> None:
    assert usual_end(Terms(), END) == END + days(30)
    assert usual_end(Terms(longest_days=10), END) == furthest(Terms(longest_days=10), END) == END + days(10)
