"""The engine over a workflow of its own: forward, back, waiting, fencing, being killed at any point."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.core.errors import Conflict
from portal.operations import endings, engine, lease, services, worker, workflow
from portal.operations.models import Operation
from portal.operations.selectors import active_on_each, operations
from portal.operations.states import State
from portal.operations.tasks import reap, run_operation
from portal.operations.workflow import PlaceLost, StepFailed, TransientError
from portal.tenancy.gate import SYSTEM
from portal.tenancy.models import Tenant
from tests.engine.kind import STEPS, Killed, World, expire_lease, fresh, run_to_the_end, submit

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_worker_that_lives_is_not_gone_and_one_that_died_is() -> None:
    child = subprocess.Popen(["sleep", "60"])
    name = worker.own_name().rsplit(":", 2)[0] + f":{child.pid}:{worker._began(child.pid)}"
    assert not worker.is_gone(worker.own_name())
    assert not worker.is_gone(name)
    child.kill()
    child.wait()
    assert worker.is_gone(name)
    assert not worker.is_gone("another-machine:1:1"), "of workers elsewhere nothing is known"


def test_it_runs_each_step_once_and_succeeds(world: World, operation: Operation) -> None:
    engine.run(operation.pk)
    done = fresh(operation)
    assert done.state == State.SUCCEEDED
    assert world.log == ["run one", "run two", "run three"]
    assert world.ended == ["succeeded"]  # type: ignore[attr-defined]
    assert [step.state for step in done.steps.all()] == ["done"] * 3
    assert done.finished_at is not None


def test_a_second_delivery_has_no_effect(world: World, operation: Operation) -> None:
    engine.run(operation.pk)
    engine.run(operation.pk)
    assert world.log.count("run one") == 1


def test_an_operation_that_is_held_is_not_taken(world: World, operation: Operation) -> None:
    assert lease.claim(operation.pk) is not None
    engine.run(operation.pk)
    assert world.log == []


@pytest.mark.parametrize("step", STEPS)
def test_a_failed_step_undoes_everything_in_reverse_order(world: World, operation: Operation, step: str) -> None:
    world.trouble[step] = [StepFailed("no_space", "The storage is full.")]
    engine.run(operation.pk)
    done = fresh(operation)
    assert done.state == State.FAILED
    assert done.error["code"] == "no_space"
    assert world.made == set()
    begun = STEPS[: STEPS.index(step) + 1]
    assert world.log[-len(begun) :] == [f"undo {name}" for name in reversed(begun)]
    assert world.ended == ["unwound"]  # type: ignore[attr-defined]


def test_an_unknown_error_fails_without_telling_its_text(world: World, operation: Operation) -> None:
    world.trouble["two"] = [ValueError("/secret/path")]
    engine.run(operation.pk)
    assert fresh(operation).error["code"] == "internal_error"
    assert "/secret" not in str(fresh(operation).error)


def test_a_transient_error_waits_says_for_what_and_goes_on(world: World, operation: Operation) -> None:
    world.trouble["two"] = [TransientError("the host does not answer")]
    engine.run(operation.pk)
    waiting = fresh(operation)
    assert (waiting.state, waiting.waiting_for) == (State.QUEUED, "the host does not answer")
    assert waiting.not_before is not None
    engine.run(operation.pk)
    assert world.log == ["run one", "run two"], "it came back before its time"
    assert run_to_the_end(operation).state == State.SUCCEEDED
    assert world.log.count("run one") == 1


def test_waiting_ends_at_the_deadline(world: World, operation: Operation) -> None:
    world.trouble["two"] = [TransientError("the host does not answer")] * 50
    engine.run(operation.pk)
    Operation.objects.unscoped("test").filter(pk=operation.pk).update(deadline_at=timezone.now())
    done = run_to_the_end(operation)
    assert (done.state, done.error["code"]) == (State.FAILED, "deadline_exceeded")
    assert world.made == set()


@pytest.mark.parametrize("twice", [False, True], ids=["killed once", "killed twice"])
@pytest.mark.parametrize("moment", ["{} ", "{} done"], ids=["in the step", "after its effect"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_anywhere_the_next_worker_ends_it(
    world: World, operation: Operation, step: str, moment: str, twice: bool
) -> None:
    world.trouble[moment.format(step).strip()] = [Killed()] * (2 if twice else 1)
    for _ in range(2 if twice else 1):
        with pytest.raises(Killed):
            engine.run(operation.pk)
        assert fresh(operation).state == State.RUNNING
        expire_lease(operation)
    assert run_to_the_end(operation).state == State.SUCCEEDED
    assert world.made == set(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_killed_while_undoing_the_next_worker_undoes_the_rest(world: World, operation: Operation, step: str) -> None:
    world.trouble["three"] = [StepFailed("no_space", "full")]
    world.trouble[f"undo {step}"] = [Killed()]
    with pytest.raises(Killed):
        engine.run(operation.pk)
    assert run_to_the_end(operation).state == State.FAILED
    assert world.made == set()


def test_a_worker_that_lost_its_lease_writes_nothing_more(world: World, operation: Operation) -> None:
    late = lease.claim(operation.pk)
    assert late is not None
    expire_lease(operation)
    engine.run(operation.pk)
    assert fresh(operation).state == State.SUCCEEDED
    with pytest.raises(lease.LeaseLost):
        engine.Journal(late).move(State.UNWINDING)
    with pytest.raises(lease.LeaseLost):
        engine.Journal(late).advance(None, {}, late.steps.all()[0])
    assert fresh(operation).state == State.SUCCEEDED


def test_cancel_before_it_began_undoes_nothing_and_ends(world: World, operation: Operation) -> None:
    services.cancel(actor=SYSTEM, operation=fresh(operation))
    assert run_to_the_end(operation).state == State.CANCELLED
    assert world.log == []


def test_cancel_between_steps_undoes_what_was_done(world: World, operation: Operation) -> None:
    world.trouble["two"] = [TransientError("busy")]
    engine.run(operation.pk)
    services.cancel(actor=SYSTEM, operation=fresh(operation))
    assert run_to_the_end(operation).state == State.CANCELLED
    assert world.made == set()
    assert world.log[-2:] == ["undo two", "undo one"]


def test_a_finished_operation_cannot_be_cancelled(world: World, operation: Operation) -> None:
    engine.run(operation.pk)
    with pytest.raises(Conflict):
        services.cancel(actor=SYSTEM, operation=fresh(operation))


def test_what_was_lost_with_its_place_needs_no_undo(world: World, operation: Operation) -> None:
    """The host of the step failed in the middle of it."""
    world.trouble["three"] = [PlaceLost("host_failed", "Its host has failed.")]
    world.trouble["undo two"] = [PlaceLost("host_failed", "Its host has failed.")]
    done = run_to_the_end(operation)
    assert (done.state, done.error["code"]) == (State.FAILED, "host_failed")
    assert world.log[-3:] == ["undo three", "undo two", "undo one"]


def test_an_undo_that_never_works_waits_for_an_administrator(world: World, operation: Operation) -> None:
    world.trouble["three"] = [StepFailed("no_space", "full")]
    world.trouble["undo one"] = [ValueError("broken")] * (endings.UNDO_ATTEMPTS + 1)
    engine.run(operation.pk)
    while fresh(operation).state == State.UNWINDING:
        expire_lease(operation)
        engine.run(operation.pk)
    assert fresh(operation).state == State.STUCK
    assert fresh(operation).status == "failed"
    services.unwind(actor=SYSTEM, operation_id=operation.pk)
    assert run_to_the_end(operation).state == State.FAILED
    assert world.made == set()


def test_one_active_operation_per_target(world: World, operation: Operation, target: Tenant) -> None:
    with pytest.raises(Conflict) as refusal:
        submit(world, target)
    assert refusal.value.extra == {"operation": str(operation.pk)}
    engine.run(operation.pk)
    assert submit(world, target).pk != operation.pk


def test_what_an_operation_holds_is_kept_from_others(world: World, target: Tenant) -> None:
    other = Tenant.objects.create(name="O", slug="other-target")
    third = Tenant.objects.create(name="P", slug="third-target")
    held = {"actor": SYSTEM, "title": "Test", "holds": [other]}
    operation = services.submit(world.kind, target=target, **held)  # type: ignore[attr-defined]
    for ask in (lambda: submit(world, other), lambda: services.submit(world.kind, target=third, **held)):  # type: ignore[attr-defined]
        with pytest.raises(Conflict) as refusal:
            ask()
        assert refusal.value.extra == {"operation": str(operation.pk)}
    assert services.active_on("tenant", other.pk) == operation
    assert active_on_each([other.pk, target.pk, third.pk]) == {other.pk: operation, target.pk: operation}
    engine.run(operation.pk)
    assert services.active_on("tenant", other.pk) is None
    assert active_on_each([other.pk]) == {}
    assert submit(world, other).pk != operation.pk


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_what_it_held_is_free_however_it_ends(world: World, target: Tenant, end: str) -> None:
    other = Tenant.objects.create(name="O", slug="other-target")
    operation = services.submit(world.kind, actor=SYSTEM, target=target, title="Test", holds=[other])  # type: ignore[attr-defined]
    if end == "cancelled":
        services.cancel(actor=SYSTEM, operation=operation)
    else:
        world.trouble["two"] = [StepFailed("broken", "It broke.")]
    assert run_to_the_end(operation).status == end
    assert services.active_on("tenant", other.pk) is None
    assert submit(world, other)


def test_what_is_only_read_is_shared_among_readers(world: World, target: Tenant) -> None:
    other, second, third = (Tenant.objects.create(name="O", slug=f"reader-{i}") for i in range(3))

    def ask(target: Tenant, **also: Any) -> Operation:
        return services.submit(world.kind, actor=SYSTEM, target=target, title="Test", **also)  # type: ignore[attr-defined]

    first = ask(target, shares=[other])
    found = services.active_on("tenant", other.pk)
    assert found == first
    assert found.only_reads
    again = ask(second, shares=[other])
    for also in ({"target": other}, {"target": third, "holds": [other]}):
        with pytest.raises(Conflict):
            ask(**also)
    for reader in (first, again):
        assert services.active_on("tenant", other.pk) is not None
        engine.run(reader.pk)
    alone = ask(third, holds=[other])
    with pytest.raises(Conflict):
        ask(target, shares=[other])
    assert set(operations(SYSTEM, target=other.pk)) == {first, again, alone}, "each of them worked on it"


def test_a_kind_nobody_knows_waits_for_a_worker_that_does(
    world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(workflow._registry, "test.kind")
    engine.run(operation.pk)
    assert fresh(operation).state == State.QUEUED
    assert "another version" in fresh(operation).waiting_for


def test_what_is_wrong_in_the_engine_is_not_taken_for_a_bad_message(
    operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(operation: Operation, asked_at: float) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(engine, "_work_on_guarded", broken)
    with pytest.raises(ValueError, match="a bug"):
        run_operation(str(operation.pk))
    for garbage in ("", "x", None, 7):
        run_operation(garbage)


class TestReaper:
    @pytest.fixture
    def rung(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        rung: list[Any] = []
        monkeypatch.setattr("portal.operations.tasks.ring", rung.append)
        return rung

    def test_it_rings_for_an_orphan(self, operation: Operation, rung: list[Any]) -> None:
        lease.claim(operation.pk)
        reap()
        assert rung == []
        expire_lease(operation)
        reap()
        assert rung == [operation.pk]

    def test_it_rings_again_when_the_message_was_lost(self, operation: Operation, rung: list[Any]) -> None:
        reap()
        assert rung == [], "the first bell may still be on its way"
        long_ago = timezone.now() - timedelta(minutes=1)
        Operation.objects.unscoped("test").filter(pk=operation.pk).update(rung_at=long_ago)
        reap()
        assert rung == [operation.pk]

    def test_it_rings_once_for_a_wait_that_is_over(self, operation: Operation, rung: list[Any]) -> None:
        now = timezone.now()
        before = {"rung_at": now - timedelta(seconds=5), "not_before": now - timedelta(seconds=1)}
        Operation.objects.unscoped("test").filter(pk=operation.pk).update(**before)
        for _ in range(10):
            reap()
        assert rung == [operation.pk], "that bell may still be on its way"

    def test_it_lets_those_wait_that_wait(self, operation: Operation, rung: list[Any]) -> None:
        later = timezone.now() + timedelta(minutes=1)
        Operation.objects.unscoped("test").filter(pk=operation.pk).update(rung_at=None, not_before=later)
        reap()
        assert rung == []
