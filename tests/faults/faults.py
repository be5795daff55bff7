"""The faults. Each asks for the scenario's operation and hits it at one step, exactly, by an order to the worker."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from portal.operations import workflow
from tests.faults.bench import Bench
from tests.faults.scenarios import Scenario
from tests.faults.scenarios.power import STATES
from tests.stack import wait_until

OUTAGE_SECONDS = 20.0
SLOW_SECONDS = 10.0
POWER_LOSS_SECONDS = 3.0
COMING_BACK_SECONDS = 120.0  # what tests/service/test_drift.py gives a machine after a power loss
WISHES = """
import json
from portal.operations.services import active_on
from vms.models import VM
rows = VM.objects.unscoped("test").filter(lifecycle="ready")
print(json.dumps([[str(vm.pk), vm.desired_power, bool(active_on("vm", vm.pk))] for vm in rows]))
"""
Operation = dict[str, Any]
Place = Callable[[Bench, Scenario, str], Operation]


def nothing(bench: Bench, operation: Operation) -> None:
    return None


@dataclass(frozen=True)
class Fault:
    """`place` returns when the fault is over. `late` happens after the operation has ended and was cleaned up.

    `settle` comes between the end of the operation and the look at its effect.
    `is_of_undo`: only for steps that can be undone.
    """

    place: Place
    settle: Callable[[Bench, Operation], None] = nothing
    late: Callable[[Bench, Operation], None] = nothing
    is_of_undo: bool = False


def held_at(bench: Bench, scenario: Scenario, point: str) -> Operation:
    """The operation, once a worker has come to `point` with it."""
    bench.stack.order(point)
    operation = scenario.request()
    bench.wait_until_held()
    return operation


def kill(moment: str) -> Place:
    def place(bench: Bench, scenario: Scenario, step: str) -> Operation:
        operation = held_at(bench, scenario, f"{moment}:{step}")
        bench.kill_worker()
        bench.start_worker()
        return operation

    return place


def kill_twice(bench: Bench, scenario: Scenario, step: str) -> Operation:
    """The worker that takes over dies at the same place."""
    operation = held_at(bench, scenario, f"during:{step}")
    for is_last in (False, True):
        bench.kill_worker()
        if not is_last:
            bench.stack.order(f"before:{step}")
        bench.start_worker()
        if not is_last and not wait_until_held_or_ended(bench, operation):
            break  # a step that is not repeated: nobody came there again
    return operation


def wait_until_held_or_ended(bench: Bench, operation: Operation) -> bool:
    def answer() -> str:
        if bench.stack.held.exists():
            return "held"
        return "ended" if is_over(bench, operation) else ""

    return bool(wait_until(answer, 60, "a worker that takes over") == "held")


def is_over(bench: Bench, operation: Operation) -> bool:
    now = bench.stack.get(f"/operations/{operation['id']}", user="admin")
    return now["status"] in ("succeeded", "failed", "cancelled")


def step_fails(bench: Bench, scenario: Scenario, step: str) -> Operation:
    """What it has done by then must be undone."""
    bench.stack.order(f"after:{step}", "fail")
    return scenario.request()


def kill_in_undo(bench: Bench, scenario: Scenario, step: str) -> Operation:
    """The step is done, then declared a failure; its undo is cut off half-way."""
    bench.stack.order(f"after:{step}", "fail")
    operation = held_at(bench, scenario, f"during-undo:{step}")
    bench.kill_worker()
    bench.start_worker()
    return operation


def pause_worker(bench: Bench, scenario: Scenario, step: str) -> Operation:
    """It stops in the middle of the step for longer than its lease; another takes over and comes to an end."""
    operation = held_at(bench, scenario, f"during:{step}")
    bench.pause_worker()
    bench.start_worker("worker-2")
    return operation


def wake_paused_worker(bench: Bench, operation: Operation) -> None:
    """By now its operation has ended, and what it worked on may be gone: it must leave everything alone."""
    bench.signal_worker(signal.SIGCONT)
    bench.release()
    log = bench.stack.data / "worker.log"
    words = f"operation {operation['id']} was taken over"
    wait_until(lambda: words in log.read_text(), 15, "the first worker's words that it leaves the operation alone")
    bench.kill_worker("worker-2")


def kill_libvirtd(bench: Bench, scenario: Scenario, step: str) -> Operation:
    """It is away until the operation says that it waits, or has found nothing to ask of the host."""
    operation = held_at(bench, scenario, f"before:{step}")
    bench.kill_libvirtd()
    bench.release()
    try:
        wait_until_waiting(bench, operation, 10)
    finally:
        bench.lab_host.start_libvirtd()
    return operation


def wait_until_waiting(bench: Bench, operation: Operation, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not is_over(bench, operation):
        if bench.stack.get(f"/operations/{operation['id']}", user="admin")["waiting_for"]:
            return
        time.sleep(0.1)


def stop_libvirtd(bench: Bench, scenario: Scenario, step: str) -> Operation:
    operation = held_at(bench, scenario, f"before:{step}")
    bench.signal_libvirtd(signal.SIGSTOP)
    try:
        bench.release()
        time.sleep(OUTAGE_SECONDS)
    finally:
        bench.signal_libvirtd(signal.SIGCONT)
    return operation


def lose_broker(bench: Bench, scenario: Scenario, step: str) -> Operation:
    operation = held_at(bench, scenario, f"during:{step}")
    bench.lose_broker()
    bench.release()
    return operation


def lose_broker_and_worker(bench: Bench, scenario: Scenario, step: str) -> Operation:
    """Nobody but the database knows of the operation any more."""
    operation = held_at(bench, scenario, f"after:{step}")
    bench.kill_worker()
    bench.lose_broker()
    bench.start_worker()
    return operation


def cut_database(bench: Bench, scenario: Scenario, step: str) -> Operation:
    """SQLite is locked for 20 s, which is longer than a lease; PostgreSQL drops every connection."""
    operation = held_at(bench, scenario, f"during:{step}")
    if bench.stack.database_url:
        bench.cut_database()
        bench.release()
        return operation
    with bench.locked_database():
        bench.release()
        time.sleep(OUTAGE_SECONDS)
    return operation


def fill_pool(bench: Bench, scenario: Scenario, step: str) -> Operation:
    """Not a byte is left in the pool until the operation has ended, or waits."""
    operation = held_at(bench, scenario, f"before:{step}")
    bench.fill_pool()
    try:
        bench.release()
        wait_until_waiting(bench, operation, scenario.seconds + 30)
    finally:
        bench.empty_pool()
    return operation


def deliver_twice(bench: Bench, scenario: Scenario, step: str) -> Operation:
    """The same message to two workers at once, five times, with garbage in between."""
    bench.start_worker("worker-2")
    broker = bench.redis()
    of_the_dead = broker.hlen("unacked")  # killed workers let go of nothing
    operation = held_at(bench, scenario, f"during:{step}")
    seen = len(bench.trace())
    for _ in range(5):
        bench.send(operation["id"])
        bench.send(str(uuid4()))
        bench.send("../../etc/passwd")
        bench.send({"not": "an id"})
    wait_until(
        lambda: not broker.llen("celery") and broker.hlen("unacked") <= of_the_dead,
        30,
        f"an end of all messages: {broker.llen('celery')} wait, {broker.hlen('unacked')} instead of {of_the_dead}",
    )
    came_by = [line for line in bench.trace()[seen:] if line.endswith(f" before:{step}")]
    assert came_by == [], "another worker began the step that one is in"
    bench.release()
    return operation


def cancel(bench: Bench, scenario: Scenario, step: str) -> Operation:
    """Asked for in the middle of the step; a kind that cannot be cancelled says so."""
    operation = held_at(bench, scenario, f"during:{step}")
    answer = bench.stack.api("POST", f"/operations/{operation['id']}/actions/cancel", {}, user="admin")
    bench.release()
    is_cancellable = workflow.workflow_of(scenario.kind).cancellable
    assert answer.status_code == (202 if is_cancellable else 409), answer.text
    return operation


def check_heeded(bench: Bench, operation: Operation) -> None:
    """It came too late or was heeded; nothing broke, so nothing failed."""
    is_cancellable = workflow.workflow_of(operation["kind"]).cancellable
    assert operation["status"] in ("succeeded", *(["cancelled"] if is_cancellable else [])), operation


def lose_power(bench: Bench, scenario: Scenario, step: str) -> Operation:
    operation = held_at(bench, scenario, f"during:{step}")
    bench.lab_host.kill()
    try:
        bench.release()
        time.sleep(POWER_LOSS_SECONDS)
    finally:
        bench.lab_host.start()
    return operation


def wait_for_machines(bench: Bench, operation: Operation) -> None:
    """All that were on come back as their owners want them, those of other cells too."""

    def are_as_wanted() -> bool:
        wishes = bench.shell(WISHES)
        return all(not is_busy and bench.state(vm_id) == STATES[wish] for vm_id, wish, is_busy in wishes)

    wait_until(are_as_wanted, COMING_BACK_SECONDS, f"the machines to be as wanted: {bench.shell(WISHES)}")


def slow_down_libvirtd(bench: Bench, scenario: Scenario, step: str) -> Operation:
    """It gets a tenth of the time."""
    operation = held_at(bench, scenario, f"before:{step}")
    bench.release()
    for _ in range(round(SLOW_SECONDS)):
        bench.signal_libvirtd(signal.SIGSTOP)
        try:
            time.sleep(0.9)
        finally:
            bench.signal_libvirtd(signal.SIGCONT)
        time.sleep(0.1)
    return operation


def stop_second_worker(bench: Bench, operation: Operation) -> None:
    bench.kill_worker("worker-2")


FAULTS = {
    "kill-before": Fault(kill("before")),
    "kill-during": Fault(kill("during")),
    "kill-after": Fault(kill("after")),
    "kill-twice": Fault(kill_twice),
    "step-fails": Fault(step_fails, is_of_undo=True),
    "kill-in-undo": Fault(kill_in_undo, is_of_undo=True),
    "worker-paused": Fault(pause_worker, late=wake_paused_worker),
    "libvirtd-killed": Fault(kill_libvirtd),
    "libvirtd-stopped": Fault(stop_libvirtd),
    "broker-lost": Fault(lose_broker),
    "broker-and-worker-lost": Fault(lose_broker_and_worker),
    "database-cut": Fault(cut_database),
    "pool-full": Fault(fill_pool),
    "delivered-twice": Fault(deliver_twice, late=stop_second_worker),
    "cancelled": Fault(cancel, settle=check_heeded),
    "host-killed": Fault(lose_power, settle=wait_for_machines),
    "libvirtd-slow": Fault(slow_down_libvirtd),
}
