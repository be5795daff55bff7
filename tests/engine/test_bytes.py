"""Progress in bytes: written by steps, told with the time left, and kept from worker to worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.api.operations import StepOut
from portal.core.pace import Amount, speed
from portal.operations import engine, journal, selectors
from portal.operations.models import Operation, OperationStep
from portal.operations.states import State, StepState
from portal.operations.workflow import LookAgain, StepContext
from portal.tenancy.gate import SYSTEM
from portal.web.presenters import operation as present
from tests.engine.kind import World, expire_lease, fresh
from tests.engine.test_rescue import change_step

GIB = 1024**3


@pytest.mark.parametrize(
    ("done", "rate", "words"),
    [
        (0, None, "0\u202fB of 4\u202fGiB"),
        (GIB, GIB / 10, "1\u202fGiB of 4\u202fGiB, 30 s left"),
        (4 * GIB, GIB, "4\u202fGiB of 4\u202fGiB, 1 s left"),
        (GIB, 0.0, "1\u202fGiB of 4\u202fGiB"),
    ],
)
def test_words_of_an_amount(done: int, rate: float | None, words: str) -> None:
    assert Amount(done, 4 * GIB).words(rate) == words


def test_a_speed_is_smoothed_and_nothing_said_by_what_moved_back() -> None:
    assert speed(100, 10, None) == 10
    assert speed(200, 10, 10.0) == pytest.approx(14)
    assert speed(-5, 10, 10.0) == 10
    assert speed(5, 0, None) is None


@pytest.mark.django_db(transaction=True)
class TestSteps:
    @pytest.fixture(autouse=True)
    def _each_look_is_written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(journal, "PROGRESS_EVERY_SECONDS", 0.0)

    def test_what_moves_by_itself_is_under_way_and_tells_how_far_and_how_long(
        self, world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done = iter([1 * GIB, 2 * GIB, None])

        def copy(context: StepContext) -> None:
            if (moved := next(done)) is not None:
                context.moved(moved, 4 * GIB)
                raise LookAgain(5)

        change_step(world, monkeypatch, "one", run=copy)
        engine.run(operation.pk)
        step = fresh(operation).steps.get(name="one")
        assert (step.amount, step.seconds_left, step.progress) == (Amount(GIB, 4 * GIB), None, 0.25)

        step.measured_at -= timedelta(minutes=10)  # so that the seconds of a busy machine do not matter
        step.save(update_fields=["measured_at"])
        expire_lease(operation)
        engine.run(operation.pk)
        waiting = fresh(operation)
        step = waiting.steps.get(name="one")
        assert step.seconds_left == pytest.approx(1200, rel=0.1), "by what another worker wrote"
        assert (waiting.state, waiting.status) == (State.QUEUED, "running")
        assert selectors.operations(SYSTEM, status="running").filter(pk=operation.pk).exists()
        assert not selectors.operations(SYSTEM, status="queued").filter(pk=operation.pk).exists()
        view = present.view(SYSTEM, waiting, list(waiting.steps.all()), "")
        assert (view.word, view.waiting_for) == ("under way", "")
        assert view.steps[0].detail == "2\u202fGiB of 4\u202fGiB, 20 min left"

        expire_lease(operation)
        engine.run(operation.pk)
        assert fresh(operation).state == State.SUCCEEDED
        assert fresh(operation).steps.get(name="one").amount is None, "what has ended tells none"

    def test_a_step_that_begins_anew_begins_at_nothing(
        self, world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[Any] = []

        def look(context: StepContext) -> None:
            seen.append(fresh(operation).steps.get(name="one").amount)

        operation.steps.filter(name="one").update(done_bytes=5, total_bytes=9, measured_at=timezone.now())
        change_step(world, monkeypatch, "one", run=look)
        engine.run(operation.pk)
        assert seen == [None]

    def test_moved_is_where_a_cancelled_operation_stops(
        self, world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def copy(context: StepContext) -> None:
            Operation.objects.unscoped("test").filter(pk=operation.pk).update(cancel_requested_at=timezone.now())
            context.moved(1, 2)
            raise AssertionError("it went on")

        change_step(world, monkeypatch, "one", run=copy)
        engine.run(operation.pk)
        assert fresh(operation).state == State.CANCELLED


def test_the_api_tells_bytes(db: None) -> None:
    step = OperationStep(name="copy", title="Copying", state=StepState.RUNNING, done_bytes=2, total_bytes=8)
    step.bytes_per_second = 3.0
    told = StepOut(step).data
    assert (told["done_bytes"], told["total_bytes"], told["seconds_left"]) == (2, 8, 2.0)
    step.state = StepState.DONE
    told = StepOut(step).data
    assert (told["done_bytes"], told["total_bytes"], told["seconds_left"]) == (None, None, None)
