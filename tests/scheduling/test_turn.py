"""What is due is begun once; what is kept no longer goes, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from portal.core.errors import Conflict, Invalid
from portal.events.models import Event
from portal.operations.models import Operation
from portal.operations.states import State
from portal.quotas.ledger import Exceeded
from tests.scheduling.conftest import Shelf, at
from tests.world import World
from vms.models import Schedule, ScheduleRun
from vms.scheduling.turn import turn

DUE = at("2026-05-04 03:00")
SOON = DUE + timedelta(seconds=5)
Make = Callable[..., Schedule]


def fresh(schedule: Schedule) -> Schedule:
    return Schedule.objects.unscoped("test").get(pk=schedule.pk)


def outcomes(schedule: Schedule) -> list[tuple[str, bool]]:
    return [(run.outcome, run.is_late) for run in schedule.runs.order_by("id")]


def made_daily(schedule: Schedule, shelf: Shelf, count: int, start: datetime = DUE) -> None:
    """So many days of it, each of which goes well, without pruning in between."""
    for day in range(count):
        id = uuid4()
        moment = start + timedelta(days=day)
        shelf.there.append(id)
        ScheduleRun.objects.create(schedule=schedule, due_at=moment, at=moment, outcome="succeeded", made=id)
    Schedule.objects.unscoped("test").filter(pk=schedule.pk).update(needs_pruning=True)


class TestDue:
    def test_it_is_begun_when_it_is_due_and_not_before(self, shelf: Shelf, schedule: Make) -> None:
        made = schedule(DUE)
        turn(DUE - timedelta(seconds=1))
        assert shelf.made == []
        turn(SOON)
        assert len(shelf.made) == 1
        assert fresh(made).next_at == at("2026-05-05 03:00")
        assert outcomes(made) == [("started", False)]

    def test_once_however_often_one_looks(self, shelf: Shelf, schedule: Make) -> None:
        schedule(DUE)
        for _ in range(3):
            turn(SOON)
        assert len(shelf.made) == 1

    def test_missed_ones_are_done_once_late_and_marked_so(self, shelf: Shelf, schedule: Make) -> None:
        made = schedule(DUE)
        turn(at("2026-05-09 11:00"))
        assert outcomes(made) == [("started", True)]
        assert fresh(made).next_at == at("2026-05-10 03:00")

    def test_how_it_ended_is_noted(self, shelf: Shelf, schedule: Make) -> None:
        good, bad = schedule(DUE), schedule(DUE + timedelta(hours=1))
        turn(SOON)
        shelf.end()
        turn(SOON + timedelta(hours=1))
        shelf.end(State.FAILED)
        turn(SOON + timedelta(hours=1))
        assert outcomes(good) == [("succeeded", False)]
        assert [(run.outcome, run.words) for run in bad.runs.all()] == [("failed", "It broke.")]

    def test_one_that_is_off_is_left_alone(self, shelf: Shelf, schedule: Make) -> None:
        schedule(DUE, active=False)
        turn(SOON)
        assert shelf.made == []

    def test_a_busy_machine_is_tried_again(self, world: World, shelf: Shelf, schedule: Make) -> None:
        made = schedule(DUE)
        world.operation(world.machines["web"])
        turn(SOON)
        assert outcomes(made) == []
        assert fresh(made).next_at == SOON + timedelta(minutes=1)
        Operation.objects.unscoped("test").update(state=State.SUCCEEDED)
        turn(SOON + timedelta(minutes=1))
        assert outcomes(made) == [("started", False)]
        assert made.runs.get().due_at == DUE

    def test_one_that_is_busy_until_the_next_time_is_skipped_and_said(
        self, world: World, shelf: Shelf, schedule: Make
    ) -> None:
        made = schedule(DUE)
        world.operation(world.machines["web"])
        turn(at("2026-05-05 02:59:30"))
        (run,) = made.runs.all()
        assert run.outcome == "skipped"
        assert "still under way" in run.words
        assert Event.objects.unscoped("test").filter(kind="schedule.skipped").count() == 1

    @pytest.mark.parametrize(
        ("refusal", "outcome"),
        [
            (Conflict("It is in the bin.", code="wrong_state"), "skipped"),
            (Exceeded("The quota is used up."), "failed"),
            (Invalid("Its target is gone."), "failed"),
            (RuntimeError("a defect"), "failed"),
        ],
    )
    def test_what_is_refused_is_said_and_the_next_time_comes(
        self, shelf: Shelf, schedule: Make, refusal: Exception, outcome: str
    ) -> None:
        made, shelf.refusal = schedule(DUE), refusal
        turn(SOON)
        (run,) = made.runs.all()
        assert run.outcome == outcome
        assert run.words
        assert "defect" not in run.words
        assert fresh(made).next_at == at("2026-05-05 03:00")

    def test_one_that_goes_wrong_keeps_no_other_from_its_turn(
        self, shelf: Shelf, schedule: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bad, good = schedule(DUE), schedule(DUE)
        Schedule.objects.unscoped("test").filter(pk=bad.pk).update(zone="Mars/X")
        turn(SOON)
        assert outcomes(good) == [("started", False)]

    def test_a_clock_that_was_set_back_leaves_none_waiting_for_years(self, shelf: Shelf, schedule: Make) -> None:
        made = schedule(at("2031-05-04 03:00"))
        turn(at("2026-05-04 02:00"))
        assert fresh(made).next_at == DUE
        turn(SOON)
        assert len(shelf.made) == 1


class TestRetention:
    def test_what_is_kept_no_longer_is_deleted_one_operation_each(self, shelf: Shelf, schedule: Make) -> None:
        made = schedule(at("2026-05-20 03:00"))
        made_daily(made, shelf, 5)
        oldest, second, *kept = shelf.there
        now = at("2026-05-10 03:00")
        for _ in range(6):
            turn(now)
            shelf.end()
            now += timedelta(minutes=1)
        assert shelf.deletions == [oldest, second]
        assert shelf.there == kept
        assert not fresh(made).needs_pruning

    def test_what_a_schedule_did_not_make_is_never_deleted(self, shelf: Shelf, schedule: Make) -> None:
        made = schedule(at("2026-05-20 03:00"), keep={"last": 1})
        by_hand = [uuid4() for _ in range(3)]
        shelf.there += by_hand
        made_daily(made, shelf, 2)
        other = schedule(at("2026-05-20 03:00"), keep={"last": 1})
        made_daily(other, shelf, 1)
        now = at("2026-05-10 03:00")
        for _ in range(6):
            turn(now)
            shelf.end()
            now += timedelta(minutes=1)
        assert len(shelf.deletions) == 1
        assert set(by_hand) <= set(shelf.there)
        assert len(shelf.there) == 5

    def test_failures_push_no_good_one_out(self, shelf: Shelf, schedule: Make) -> None:
        made = schedule(DUE, keep={"last": 2})
        made_daily(made, shelf, 2, DUE - timedelta(days=9))
        for day in range(5):
            turn(SOON + timedelta(days=day))
            shelf.end(State.FAILED)
        turn(SOON + timedelta(days=6))
        assert shelf.deletions == []
        assert len(shelf.there) == 2

    def test_what_is_gone_counts_for_nothing(self, shelf: Shelf, schedule: Make) -> None:
        """Somebody deleted the newest by hand."""
        made = schedule(at("2026-05-20 03:00"), keep={"last": 2})
        made_daily(made, shelf, 3)
        shelf.there.pop()
        turn(at("2026-05-10 03:00"))
        assert shelf.deletions == []

    def test_a_clock_that_was_set_back_deletes_nothing_early(self, shelf: Shelf, schedule: Make) -> None:
        made = schedule(at("2026-05-20 03:00"), keep={"last": 2})
        made_daily(made, shelf, 2, at("2031-01-01 03:00"))
        first_wrong = shelf.there[0]
        made_daily(made, shelf, 1)
        turn(at("2026-05-10 03:00"))
        assert shelf.deletions == [first_wrong]

    def test_a_deletion_that_fails_is_asked_for_less_and_less_often(self, shelf: Shelf, schedule: Make) -> None:
        made = schedule(at("2026-05-20 03:00"), keep={"last": 1})
        made_daily(made, shelf, 2)
        now = at("2026-05-10 03:00")
        for _ in range(60):
            turn(now)
            shelf.end(State.FAILED)
            now += timedelta(minutes=1)
        assert 3 <= len(shelf.deletions) <= 6
        assert fresh(made).needs_pruning
