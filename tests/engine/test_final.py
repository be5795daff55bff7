"""Steps from which there is no way back: whatever they run into, the operation goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.core.errors import Conflict
from portal.operations import endings, engine, services, workflow
from portal.operations.models import Operation
from portal.operations.states import State
from portal.operations.workflow import StepFailed, TransientError
from portal.tenancy.gate import SYSTEM
from tests.engine.kind import STEPS, World, expire_lease, fresh, run_to_the_end

pytestmark = pytest.mark.django_db(transaction=True)
TROUBLE = [TransientError("the host does not answer"), StepFailed("no_space", "The storage is full."), ValueError("/x")]


def change(world: World, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    world.kind = replace(world.kind, **changes)  # type: ignore[attr-defined]
    monkeypatch.setitem(workflow._registry, "test.kind", world.kind)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _second_is_final(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, three = world.kind.steps  # type: ignore[attr-defined]
    change(world, monkeypatch, steps=(one, replace(two, is_final=True), three))


def ask_for_the_end(operation: Operation) -> None:
    """By a cancel and by the deadline."""
    services.cancel(actor=SYSTEM, operation=fresh(operation))
    past = timezone.now() - timedelta(seconds=1)
    Operation.objects.unscoped("test").filter(pk=operation.pk).update(deadline_at=past)


def is_done(world: World, operation: Operation) -> bool:
    undone = [line for line in world.log if line.startswith("undo")]
    return (run_to_the_end(operation).state, undone, world.made) == (State.SUCCEEDED, [], set(STEPS))


@pytest.mark.parametrize("error", TROUBLE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("at", ["two", "two done", "three"])
def test_nothing_turns_it_round(world: World, operation: Operation, at: str, error: Exception) -> None:
    world.trouble[at] = [error] * 3
    engine.run(operation.pk)
    waiting = fresh(operation)
    assert (waiting.state, bool(waiting.waiting_for), "/x" in waiting.waiting_for) == (State.QUEUED, True, False)
    ask_for_the_end(operation)
    assert is_done(world, operation)


def test_its_progress_heeds_no_cancel(world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(context: Any) -> None:
        ask_for_the_end(operation)
        context.progress(0.5, "half of it is gone")
        world.made.add("two")

    one, two, three = world.kind.steps  # type: ignore[attr-defined]
    change(world, monkeypatch, steps=(one, replace(two, run=run), three))
    assert is_done(world, operation)


def test_before_it_a_cancel_is_heeded(world: World, operation: Operation) -> None:
    world.trouble["one"] = [TransientError("the host does not answer")] * 2
    engine.run(operation.pk)
    services.cancel(actor=SYSTEM, operation=fresh(operation))
    assert run_to_the_end(operation).state == State.CANCELLED
    assert world.made == set()


def test_what_cannot_be_settled_is_tried_again(
    world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = [ValueError("the row is gone"), ValueError("still")]

    def settle(*args: Any) -> None:
        if trouble:
            raise trouble.pop()

    change(world, monkeypatch, succeeded=settle)
    assert is_done(world, operation)
    assert trouble == []


def test_an_upgrade_goes_on_with_it(world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    world.trouble["two done"] = [TransientError("the host does not answer")]
    engine.run(operation.pk)
    change(world, monkeypatch, version=2)
    assert is_done(world, operation)


def test_an_administrator_lets_it_go_on_and_cannot_undo_it(
    world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.trouble["two done"] = [TransientError("the host does not answer")]
    engine.run(operation.pk)
    with monkeypatch.context() as patch:
        patch.delitem(workflow._registry, "test.kind")
        for _ in range(endings.VERSION_ATTEMPTS + 1):
            expire_lease(operation)
            engine.run(operation.pk)
    assert fresh(operation).state == State.STUCK
    with pytest.raises(Conflict, match="cannot be undone"):
        services.unwind(actor=SYSTEM, operation_id=operation.pk)
    services.retry(actor=SYSTEM, operation_id=operation.pk)
    assert is_done(world, operation)
    assert world.log.count("run one") == 1, "it is not begun anew"


class TestSealed:
    """By a step that may fail until it is done, and from then on never."""

    @pytest.fixture(autouse=True)
    def _second_seals(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        one, two, three = world.kind.steps  # type: ignore[attr-defined]
        change(world, monkeypatch, steps=(one, replace(two, is_final=False, seals=True), three))

    def test_it_may_fail(self, world: World, operation: Operation) -> None:
        world.trouble["two"] = [StepFailed("no_space", "The storage is full.")]
        assert run_to_the_end(operation).state == State.FAILED
        assert world.made == set()

    @pytest.mark.parametrize("error", TROUBLE, ids=lambda error: type(error).__name__)
    def test_what_comes_after_it_may_not(self, world: World, operation: Operation, error: Exception) -> None:
        world.trouble["three"] = [error] * 3
        engine.run(operation.pk)
        ask_for_the_end(operation)
        assert is_done(world, operation)

    def test_a_cancel_while_it_runs_comes_too_late(
        self, world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def ask(moment: str, step: str) -> None:
            if (moment, step) == ("after", "two"):
                ask_for_the_end(operation)

        monkeypatch.setattr(engine, "step_hook", ask)
        assert is_done(world, operation)
