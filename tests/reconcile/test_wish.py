"""What an owner wants of a machine's power, when what was asked for did not come about as it should."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hosts.driver import errors
from hosts.driver.memory import MemoryDriver, MemoryHost
from hosts.driver.types import PowerState
from portal.events import log
from portal.operations import engine, services
from portal.operations.models import Operation
from portal.operations.states import State
from portal.tenancy.gate import SYSTEM
from portal.web.presenters import event as words
from tests.engine.kind import expire_lease
from tests.engine.kind import fresh as fresh_operation
from tests.reconcile.conftest import fresh
from tests.world import World
from vms.models import VM
from vms.services.delete import delete_vm
from vms.services.power import change_power
from vms.states import Action
from vms.workflows import power

pytestmark = pytest.mark.django_db(transaction=True)


def power_of(host: MemoryHost, vm: VM) -> PowerState:
    return host.domains[vm.pk][1]


@pytest.mark.parametrize("action", [Action.REBOOT, Action.PAUSE])
def test_a_machine_whose_host_went_down_comes_back_whatever_was_asked_of_it_meanwhile(
    world: World, host: MemoryHost, turn: Callable[[], list[str]], work: Callable[[], list[Operation]], action: Action
) -> None:
    web = world.machines["web"]
    turn()
    operation = change_power(actor=SYSTEM, vm=web, action=action)
    host.fail_next("state", errors.Unreachable("down"))
    engine.run(operation.pk)
    host.lose_power()
    expire_lease(operation)
    engine.run(operation.pk)
    assert fresh_operation(operation).state == State.FAILED
    assert fresh(web).desired_power == "running"
    for _ in range(3):
        turn()
        work()
    assert power_of(host, web) is PowerState.RUNNING


def test_a_start_that_worked_is_not_called_cancelled(
    world: World, host: MemoryHost, turn: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cold, start = world.machines["cold"], MemoryDriver.start

    def start_and_fall_silent(driver: MemoryDriver, uuid: object) -> None:
        start(driver, uuid)  # type: ignore[arg-type]
        host.fail_next("state", errors.Timeout("no answer"))

    operation = change_power(actor=SYSTEM, vm=cold, action=Action.START)
    with monkeypatch.context() as patched:
        patched.setattr(MemoryDriver, "start", start_and_fall_silent)
        engine.run(operation.pk)
    services.cancel(actor=SYSTEM, operation=fresh_operation(operation))
    expire_lease(operation)
    engine.run(operation.pk)
    assert fresh_operation(operation).state == State.SUCCEEDED
    assert (power_of(host, cold), fresh(cold).desired_power) == (PowerState.RUNNING, "running")
    assert "started_outside" not in turn()


def test_a_cancel_before_the_host_was_reached_leaves_the_wish_as_it_was(world: World, host: MemoryHost) -> None:
    cold = world.machines["cold"]
    operation = change_power(actor=SYSTEM, vm=cold, action=Action.START)
    for _ in range(2):
        host.fail_next("state", errors.Unreachable("down"))
    engine.run(operation.pk)
    services.cancel(actor=SYSTEM, operation=fresh_operation(operation))
    engine.run(operation.pk)
    assert fresh_operation(operation).state == State.CANCELLED
    assert (power_of(host, cold), fresh(cold).desired_power) == (PowerState.STOPPED, "stopped")


def test_the_power_key_is_pressed_as_often_as_promised(
    world: World, host: MemoryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    web, pressed = world.machines["web"], []
    monkeypatch.setattr(power, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(MemoryDriver, "shutdown", lambda driver, uuid: pressed.append(uuid))
    operation = change_power(actor=SYSTEM, vm=web, action=Action.STOP)
    while fresh_operation(operation).is_active:
        expire_lease(operation)
        engine.run(operation.pk)
    assert fresh_operation(operation).error["code"] == "guest_did_not_stop"
    assert len(pressed) == power.LOOKS
    assert fresh(web).desired_power == "running"


def test_a_machine_whose_disk_cannot_be_reached_is_not_called_deleted(world: World, host: MemoryHost) -> None:
    cold = world.machines["cold"]
    place = "berth", cold.boot_volume.layer.file_name
    path = host.pools.pop("berth")
    operation = delete_vm(actor=SYSTEM, vm=cold, purge=True)
    engine.run(operation.pk)
    assert fresh_operation(operation).state == State.FAILED
    assert fresh(cold).status == "error"
    host.pools["berth"] = path
    again = delete_vm(actor=SYSTEM, vm=fresh(cold), purge=True)
    engine.run(again.pk)
    assert fresh_operation(again).state == State.SUCCEEDED
    assert place not in host.volumes
    assert not VM.objects.unscoped("test").filter(pk=cold.pk).exists()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("vm.repair.requested", "is to be repaired"),
        ("vm.repair.succeeded", "was repaired"),
        ("vm.force-off.failed", "could not be forced off"),
        ("drift.clean-up.cancelled", "was not cleaned up: it was cancelled"),
    ],
)
def test_what_was_asked_is_said_in_words(world: World, kind: str, said: str) -> None:
    event = log.record(kind, actor=SYSTEM, target=world.machines["web"])
    assert next(iter(words.rows([event]))).words == said
