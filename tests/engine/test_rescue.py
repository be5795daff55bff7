"""What the engine does where a worker, a step, a host or a version is in the way."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from portal.core.errors import Conflict
from portal.core.ids import uuid7
from portal.operations import endings, engine, heartbeat, lanes, lease, services, worker, workflow
from portal.operations.journal import Journal
from portal.operations.models import Operation
from portal.operations.states import State
from portal.operations.workflow import LookAgain, Step, StepFailed, TransientError
from portal.tenancy.gate import SYSTEM
from portal.tenancy.models import Tenant
from tests.engine.kind import Killed, World, expire_lease, fresh, run_to_the_end, submit

pytestmark = pytest.mark.django_db(transaction=True)


def change_kind(world: World, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    world.kind = replace(world.kind, **changes)  # type: ignore[attr-defined]
    monkeypatch.setitem(workflow._registry, "test.kind", world.kind)  # type: ignore[attr-defined]


def change_step(world: World, monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> None:
    steps: tuple[Step, ...] = world.kind.steps  # type: ignore[attr-defined]
    changed = tuple(replace(step, **changes) if step.name == name else step for step in steps)
    change_kind(world, monkeypatch, steps=changed)


# -- fencing ---------------------------------------------------------------------------------------------------------


def test_a_worker_that_was_stopped_for_longer_than_its_lease_does_nothing_more(
    world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep_past_the_lease(context: Any) -> None:
        real, later = heartbeat.now, lease.LEASE.total_seconds() + 1
        monkeypatch.setattr(heartbeat, "now", lambda: real() + later)
        with pytest.raises(lease.LeaseLost):
            context.check()
        context.progress(0.5, "still here")

    change_step(world, monkeypatch, "two", run=sleep_past_the_lease)
    engine.run(operation.pk)
    assert fresh(operation).state == State.RUNNING, "left as it was, for whoever takes it over"
    assert world.log == ["run one"]


@pytest.mark.parametrize("state", [State.QUEUED, State.UNWINDING])
def test_a_worker_that_is_stopped_right_after_its_claim_does_nothing_either(
    world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    """The lease counts from before the claim, not from when the worker wakes up."""
    claim, real = lease.claim, heartbeat.now
    Operation.objects.unscoped("test").filter(pk=operation.pk).update(state=state)
    operation.steps.filter(name="one").update(state="done")

    def claim_and_sleep(operation_id: Any) -> Operation | None:
        claimed = claim(operation_id)
        monkeypatch.setattr(heartbeat, "now", lambda: real() + lease.LEASE.total_seconds() + 1)
        return claimed

    monkeypatch.setattr(engine, "claim", claim_and_sleep)
    engine.run(operation.pk)
    assert world.log == []
    assert fresh(operation).is_active


def test_fences_rise_from_operation_to_operation(world: World, operation: Operation, target: Tenant) -> None:
    engine.run(operation.pk)
    second = submit(world, target)
    engine.run(second.pk)
    assert fresh(second).fence > fresh(operation).fence


def test_a_database_that_goes_away_in_the_middle_undoes_nothing(world: World, operation: Operation) -> None:
    world.trouble["two"] = [OperationalError("server closed the connection unexpectedly")]
    engine.run(operation.pk)
    assert fresh(operation).state == State.RUNNING
    assert run_to_the_end(operation).state == State.SUCCEEDED
    assert world.log.count("undo one") == 0


# -- steps that do not move, or cannot be repeated -------------------------------------------------------------------


class TestStuckStep:
    @pytest.fixture(autouse=True)
    def quick_beats(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)

    def test_its_process_ends_and_the_operation_is_tried_again(
        self, world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended: list[int] = []
        monkeypatch.setattr(heartbeat, "end_process", lambda: ended.append(os.getpid()))
        steps = world.kind.steps  # type: ignore[attr-defined]
        slow = [lambda context: time.sleep(1.5)]
        monkeypatch.setattr(world, "stumble", lambda at: slow.pop()(None) if at == "two" and slow else None)
        change_step(world, monkeypatch, "two", deadline=timedelta(seconds=0.3))
        engine.run(operation.pk)
        assert ended == [os.getpid()]
        assert fresh(operation).state == State.QUEUED
        assert "did not move" in fresh(operation).waiting_for
        assert len(steps) == 3
        assert run_to_the_end(operation).state == State.SUCCEEDED

    def test_one_that_tells_its_progress_is_not_stuck(
        self, world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended: list[int] = []
        monkeypatch.setattr(heartbeat, "end_process", lambda: ended.append(1))

        def slow(context: Any) -> None:
            for i in range(10):
                time.sleep(0.1)
                context.progress(i / 10, "copying")

        change_step(world, monkeypatch, "two", run=slow, deadline=timedelta(seconds=0.5))
        engine.run(operation.pk)
        assert (fresh(operation).state, ended) == (State.SUCCEEDED, [])


def test_a_step_that_cannot_be_repeated_is_not_run_again_after_a_crash(
    world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_step(world, monkeypatch, "two", repeatable=False)
    world.trouble["two done"] = [Killed()]
    with pytest.raises(Killed):
        engine.run(operation.pk)
    done = run_to_the_end(operation)
    assert (done.state, done.error["code"]) == (State.FAILED, "interrupted")
    assert world.log.count("run two") == 1
    assert world.made == set()


@pytest.mark.parametrize("moment", ["turning round", "an older Berth turned round"])
def test_a_step_that_cannot_be_repeated_is_not_run_again_after_a_crash_while_its_failure_is_noted(
    world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    change_step(world, monkeypatch, "two", repeatable=False)
    world.trouble["two"] = [StepFailed("no_space", "full")]
    move = Journal.move

    def killed(journal: Journal, state: State, **fields: Any) -> None:
        if state == State.UNWINDING:
            raise Killed
        move(journal, state, **fields)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "move", killed)
        with pytest.raises(Killed):
            engine.run(operation.pk)
    if moment != "turning round":
        operation.steps.filter(name="two").update(state="failed")
    done = run_to_the_end(operation)
    assert (done.state, done.error["code"]) == (State.FAILED, "interrupted")
    assert world.log.count("run two") == 1
    assert world.made == set()


def test_a_step_that_cannot_be_repeated_is_not_tried_again(
    world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_step(world, monkeypatch, "two", repeatable=False)
    world.trouble["two"] = [TransientError("the host did not answer in time")]
    engine.run(operation.pk)
    done = fresh(operation)
    assert (done.state, done.error["code"]) == (State.FAILED, "interrupted")
    assert "the host did not answer in time" in done.error["detail"]
    assert world.log.count("run two") == 1


# -- the dead letter -------------------------------------------------------------------------------------------------


@pytest.fixture
def stuck(world: World, operation: Operation) -> Operation:
    world.trouble["three"] = [StepFailed("no_space", "full")]
    world.trouble["undo one"] = [ValueError("broken")] * endings.UNDO_ATTEMPTS
    engine.run(operation.pk)
    while fresh(operation).state == State.UNWINDING:
        expire_lease(operation)
        engine.run(operation.pk)
    assert fresh(operation).state == State.STUCK
    return fresh(operation)


def test_a_stuck_operation_can_go_on_after_all(world: World, stuck: Operation) -> None:
    services.retry(actor=SYSTEM, operation_id=stuck.pk)
    done = run_to_the_end(stuck)
    assert (done.state, done.error) == (State.SUCCEEDED, None)
    assert world.made == {"one", "two", "three"}


def test_a_retry_does_again_what_an_undo_has_half_undone(world: World, operation: Operation) -> None:
    def undo_and_fail() -> None:
        world.made.discard("one")
        raise ValueError("broken")

    world.trouble["three"] = [StepFailed("no_space", "full")]
    world.stumble, before = lambda at: undo_and_fail() if at == "undo one" else before(at), world.stumble  # type: ignore[method-assign]
    engine.run(operation.pk)
    while fresh(operation).state == State.UNWINDING:
        expire_lease(operation)
        engine.run(operation.pk)
    world.stumble = before  # type: ignore[method-assign]
    services.retry(actor=SYSTEM, operation_id=operation.pk)
    assert run_to_the_end(operation).state == State.SUCCEEDED
    assert world.made == {"one", "two", "three"}


def test_waiting_for_a_host_counts_for_no_undo_that_failed(world: World, operation: Operation) -> None:
    world.trouble["two"] = [StepFailed("no_space", "full")]
    away: list[BaseException] = [TransientError("the host does not answer") for _ in range(endings.UNDO_ATTEMPTS + 5)]
    world.trouble["undo two"] = [*away, RuntimeError("once")]
    engine.run(operation.pk)
    assert run_to_the_end(operation).state == State.FAILED
    assert world.made == set()


def test_only_a_stuck_one_can_be_retried_or_unwound(world: World, operation: Operation) -> None:
    for rescue in (services.retry, services.unwind):
        with pytest.raises(Conflict) as refusal:
            rescue(actor=SYSTEM, operation_id=operation.pk)
        assert refusal.value.code == "not_stuck"
    assert fresh(operation).state == State.QUEUED


# -- stopping and upgrading ------------------------------------------------------------------------------------------


def test_a_worker_that_is_told_to_stop_gives_the_operation_back_between_two_steps(
    world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "is_shutting_down", lambda: "run two" in world.log)
    engine.run(operation.pk)
    given_back = fresh(operation)
    assert (given_back.state, given_back.lease_owner, given_back.attempts) == (State.QUEUED, "", 0)
    assert world.log == ["run one", "run two"]
    monkeypatch.setattr(engine, "is_shutting_down", lambda: False)
    engine.run(operation.pk)
    assert fresh(operation).state == State.SUCCEEDED
    assert world.log.count("run two") <= 2


def test_what_was_done_before_a_stop_is_not_done_again(
    world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_step(world, monkeypatch, "two", repeatable=False)
    monkeypatch.setattr(engine, "is_shutting_down", lambda: "run two" in world.log)
    engine.run(operation.pk)
    monkeypatch.setattr(engine, "is_shutting_down", lambda: False)
    assert run_to_the_end(operation).state == State.SUCCEEDED
    assert world.log.count("run two") == 1


def test_the_output_of_what_was_done_before_a_cancel_is_there_for_its_undo(
    world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def make(context: Any) -> dict[str, int]:
        services.cancel(actor=SYSTEM, operation=fresh(operation))
        return {"id_on_host": 7}

    def undo(context: Any) -> None:
        seen.append(context.outputs.get("id_on_host"))
        if len(seen) == 1:
            raise Killed

    change_step(world, monkeypatch, "two", run=make, undo=undo)
    with pytest.raises(Killed):
        engine.run(operation.pk)
    assert run_to_the_end(operation).state == State.CANCELLED
    assert seen == [7, 7], "the second one is another process's"


def test_a_step_that_may_have_had_its_effect_is_looked_at_before_it_is_given_up(
    world: World, operation: Operation
) -> None:
    """Or it would be called cancelled, and be done."""
    world.trouble["three done"] = [TransientError("no answer in time")]
    engine.run(operation.pk)
    services.cancel(actor=SYSTEM, operation=fresh(operation))
    assert run_to_the_end(operation).state == State.SUCCEEDED


def test_a_cancel_ends_the_waiting_for_a_host_that_is_away(world: World, operation: Operation) -> None:
    world.trouble["three"] = [TransientError("the host does not answer")] * 2
    engine.run(operation.pk)
    services.cancel(actor=SYSTEM, operation=fresh(operation))
    engine.run(operation.pk)
    assert fresh(operation).state == State.CANCELLED
    assert world.made == set()


def test_a_clock_that_is_set_back_holds_up_nobody(world: World, operation: Operation) -> None:
    ahead = timezone.now() + timedelta(hours=1)
    rows = Operation.objects.unscoped("test").filter(pk=operation.pk)
    rows.update(not_before=ahead, lease_until=ahead, lease_owner="another-machine:1:1", state=State.RUNNING)
    engine.run(operation.pk)
    assert fresh(operation).state == State.SUCCEEDED


class TestUpgrade:
    """The journal was written by one version, and another finds it."""

    def begin(self, world: World, operation: Operation) -> None:
        world.trouble["two"] = [TransientError("the host does not answer")]
        engine.run(operation.pk)

    def test_a_version_that_is_continued_goes_on(
        self, world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.begin(world, operation)
        change_kind(world, monkeypatch, version=2, continues=frozenset({1}))
        assert run_to_the_end(operation).state == State.SUCCEEDED

    def test_one_that_is_not_continued_undoes_what_it_did(
        self, world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.begin(world, operation)
        change_kind(world, monkeypatch, version=2)
        done = run_to_the_end(operation)
        assert (done.state, done.error["code"]) == (State.FAILED, "upgraded")
        assert world.made == set()

    def test_steps_that_are_gone_and_were_not_begun_do_not_hinder_the_undo(
        self, world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.begin(world, operation)
        steps = world.kind.steps  # type: ignore[attr-defined]
        change_kind(world, monkeypatch, version=2, steps=steps[:2])
        assert run_to_the_end(operation).state == State.FAILED
        assert world.made == set()

    @pytest.mark.parametrize("change", ["newer journal", "step gone"])
    def test_what_this_version_cannot_know_waits_for_one_that_does(
        self, world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch, change: str
    ) -> None:
        self.begin(world, operation)
        steps = world.kind.steps  # type: ignore[attr-defined]
        if change == "newer journal":
            Operation.objects.unscoped("test").filter(pk=operation.pk).update(version=7)
        else:
            change_kind(world, monkeypatch, version=2, steps=steps[1:])
        expire_lease(operation)
        engine.run(operation.pk)
        assert "another version" in fresh(operation).waiting_for
        assert world.made == {"one"}

    def test_where_none_comes_it_is_left_to_an_administrator(
        self, world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.begin(world, operation)
        monkeypatch.delitem(workflow._registry, "test.kind")
        for _ in range(endings.VERSION_ATTEMPTS + 1):
            expire_lease(operation)
            engine.run(operation.pk)
        assert fresh(operation).state == State.STUCK
        assert world.made == {"one"}
        with pytest.raises(Conflict, match="does not know its kind"):
            services.cancel(actor=SYSTEM, operation=fresh(operation))

    @pytest.mark.parametrize("moment", ["two", "two done"])
    def test_a_version_that_is_continued_goes_on_without_a_step_that_is_gone(
        self, world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch, moment: str
    ) -> None:
        world.trouble[moment] = [Killed()]
        with pytest.raises(Killed):
            engine.run(operation.pk)
        steps = world.kind.steps  # type: ignore[attr-defined]
        change_kind(world, monkeypatch, version=2, continues=frozenset({1}), steps=(steps[0], steps[2]))
        assert run_to_the_end(operation).state == State.SUCCEEDED
        assert "three" in world.made


# -- lanes -----------------------------------------------------------------------------------------------------------


class TestLanes:
    def make(self, world: World, lane: Any, count: int, **fields: Any) -> list[Operation]:
        made = []
        for _ in range(count):
            target = Tenant.objects.create(name="T", slug=f"t-{uuid7().hex[-8:]}")
            operation = services.submit(world.kind, actor=SYSTEM, target=target, title="T", lane=lane)  # type: ignore[attr-defined]
            Operation.objects.unscoped("test").filter(pk=operation.pk).update(**fields) if fields else None
            made.append(operation)
        return made

    def test_one_lane_takes_only_its_slots_and_says_so(self, world: World) -> None:
        full, other = uuid7(), uuid7()
        first = self.make(world, full, lanes.slots_of_one() + 1)
        claimed = [lease.claim(operation.pk) for operation in first]
        assert [bool(each) for each in claimed] == [True] * lanes.slots_of_one() + [False]
        assert "its turn" in fresh(first[-1]).waiting_for
        assert lease.claim(self.make(world, other, 1)[0].pk) is not None

    def test_who_waits_for_a_slot_is_woken_when_one_is_free(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rung: list[Any] = []
        monkeypatch.setattr(services, "ring", rung.append)
        lane = uuid7()
        made = self.make(world, lane, lanes.slots_of_one() + 1)
        for operation in made[1:]:
            lease.claim(operation.pk)
        assert lease.claim(made[0].pk) is None
        rung.clear()
        services.ring_next(str(lane))
        assert rung == [made[0].pk]

    def test_the_wait_counts_and_not_the_age(self, world: World) -> None:
        """A long copy that looks again and again does not come before those that it held up."""
        lane = uuid7()
        old, *held_up = self.make(world, lane, lanes.slots_of_one() + 1)
        assert all(lease.claim(operation.pk) for operation in (old, *held_up[:-1]))
        assert lease.claim(held_up[-1].pk) is None
        Operation.objects.unscoped("test").filter(pk=old.pk).update(lease_until=None, lease_owner="", state="queued")
        last = self.make(world, lane, 1)[0]
        assert lease.claim(last.pk) is not None
        assert lease.claim(old.pk) is None
        assert lanes.next_for_slot(str(lane))[0].pk == held_up[-1].pk
        since = fresh(held_up[-1]).slot_since
        assert lease.claim(held_up[-1].pk) is None
        assert fresh(held_up[-1]).slot_since == since, "it keeps its place"

    def test_hosts_that_are_down_share_few_slots(self, world: World, settings: Any) -> None:
        settings.WORKER_PROCESSES = 6
        hosts = [uuid7() for _ in range(3)]
        waiting = [self.make(world, host, 2, is_lane_down=True, attempts=1) for host in hosts]
        claimed = [lease.claim(operation.pk) for group in waiting for operation in group]
        assert [bool(each) for each in claimed] == [True, False, True, False, False, False]
        assert lease.claim(self.make(world, uuid7(), 1)[0].pk) is not None

    def test_slow_hosts_leave_a_process_for_the_reaper(self, world: World) -> None:
        slow = [self.make(world, uuid7(), 2) for _ in range(3)]
        claimed = [lease.claim(operation.pk) for group in slow for operation in group]
        assert [bool(each) for each in claimed] == [True, True, True, False, False, False]

    def test_whoever_lets_go_of_a_slot_wakes_another_lane_as_well(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        full, other = uuid7(), uuid7()
        waiting = [*self.make(world, full, 1, waits_for_slot=True), *self.make(world, other, 1, waits_for_slot=True)]
        rung: list[Any] = []
        monkeypatch.setattr(services, "ring", rung.append)
        services.ring_next(str(full))
        assert rung == [operation.pk for operation in waiting]

    def test_an_operation_that_finds_its_host_away_marks_its_lane_until_a_step_is_done(
        self, world: World, target: Tenant
    ) -> None:
        operation = self.make(world, uuid7(), 1)[0]
        world.trouble["two"] = [TransientError("the host does not answer", is_lane_down=True)]
        engine.run(operation.pk)
        assert fresh(operation).is_lane_down
        assert run_to_the_end(operation).state == State.SUCCEEDED
        assert not fresh(operation).is_lane_down

    def test_a_host_that_answers_again_is_up_for_all_that_waited(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lane, later = uuid7(), timezone.now() + timedelta(minutes=1)
        waiting = self.make(world, lane, 2, is_lane_down=True, attempts=5, not_before=later)
        quick = self.make(world, lane, 1)[0]
        rung: list[Any] = []
        monkeypatch.setattr(services, "ring", rung.append)
        engine.run(quick.pk)
        assert fresh(quick).state == State.SUCCEEDED
        assert [fresh(each).is_lane_down for each in waiting] == [False, False]
        assert rung == [waiting[0].pk]

    def test_the_slots_of_a_dead_worker_are_free(self, world: World) -> None:
        lane = uuid7()
        made = self.make(world, lane, lanes.slots_of_one() + 1)
        child = subprocess.Popen(["sleep", "60"])
        name = worker.own_name().rsplit(":", 2)[0] + f":{child.pid}:{worker._began(child.pid)}"
        for operation in made[1:]:
            lease.claim(operation.pk)
        Operation.objects.unscoped("test").filter(lane=str(lane)).exclude(pk=made[0].pk).update(lease_owner=name)
        assert lease.claim(made[0].pk) is None
        child.kill()
        child.wait()
        expire_lease(made[0])
        assert lease.claim(made[0].pk) is not None


def test_a_wait_in_a_lane_is_as_long_as_without_one(world: World) -> None:
    """Whoever lets go of a slot wakes another, not itself."""
    operation = TestLanes().make(world, uuid7(), 1)[0]
    world.trouble["two"] = [TransientError("busy")] * 50
    for _ in range(3):
        engine.run(operation.pk)
    waiting = fresh(operation)
    assert (waiting.attempts, world.log.count("run two")) == (1, 1)
    assert waiting.not_before is not None


def test_a_step_that_looks_again_keeps_no_worker_and_counts_no_attempt(
    world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []

    def look(context: Any) -> None:
        kept.append(context.kept.get("looks", 0))
        if len(kept) < 3:
            raise LookAgain(0, "the guest to power off", {"looks": len(kept)})

    change_step(world, monkeypatch, "two", run=look)
    engine.run(operation.pk)
    waiting = fresh(operation)
    assert (waiting.state, waiting.lease_owner, waiting.attempts) == (State.QUEUED, "", 0)
    assert waiting.waiting_for == "the guest to power off"
    assert run_to_the_end(operation).state == State.SUCCEEDED
    assert kept == [0, 1, 2], "it knows what it put by"


@pytest.mark.parametrize("settle", ["succeeded", "unwound"])
def test_what_cannot_be_settled_ends_before_an_administrator(
    world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch, settle: str
) -> None:
    def broken(*args: Any) -> None:
        raise ValueError("the row is gone")

    if settle == "unwound":
        world.trouble["three"] = [StepFailed("no_space", "full")]
    change_kind(world, monkeypatch, **{settle: broken})
    done = run_to_the_end_or_stuck(operation)
    assert done.state == (State.STUCK if settle == "unwound" else State.FAILED)
    assert world.made == set()


def run_to_the_end_or_stuck(operation: Operation) -> Operation:
    for _ in range(endings.UNDO_ATTEMPTS + 3):
        expire_lease(operation)
        engine.run(operation.pk)
    return fresh(operation)


def test_time_spent_waiting_for_a_worker_is_not_the_operations_own(world: World, operation: Operation) -> None:
    long_ago = timezone.now() - timedelta(hours=3)
    late = {"created_at": long_ago, "deadline_at": long_ago + timedelta(minutes=15)}
    Operation.objects.unscoped("test").filter(pk=operation.pk).update(**late)
    engine.run(operation.pk)
    assert fresh(operation).state == State.SUCCEEDED


def test_a_clock_that_is_ahead_steals_no_lease(
    world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease.claim(operation.pk)
    ahead = timezone.now() + timedelta(hours=1)
    monkeypatch.setattr(timezone, "now", lambda: ahead)
    assert lease.claim(operation.pk) is None
