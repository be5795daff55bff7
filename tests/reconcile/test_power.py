"""Who stopped it, and what follows: obeyed, brought back, or shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from hosts.connections import driver_for
from hosts.driver import errors
from hosts.driver.memory import MemoryHost
from hosts.driver.types import PowerState, Reason
from hosts.observe import Reading
from portal.events.models import Event
from portal.operations.models import Operation
from tests.reconcile.conftest import fresh
from tests.world import World
from vms import observed
from vms.models import VM

pytestmark = pytest.mark.django_db(transaction=True)
Turn = Callable[[], list[str]]
Work = Callable[[], list[Operation]]


def later(world: World, vm: VM, seconds: int = 90) -> None:
    """As if it had been seen off that long ago."""
    then = timezone.now() - timedelta(seconds=seconds)
    VM.objects.unscoped("test").filter(pk=vm.pk).update(observed_since=then)


def test_power_cut_by_hand_is_shown(world: World, host: MemoryHost, turn: Turn, work: Work) -> None:
    driver_for(world.host).destroy(world.machines["web"].pk)
    turn()
    assert turn() == ["stopped_outside"]
    assert work() == []
    assert fresh(world.machines["web"]).desired_power == "running"


def test_started_by_hand_is_shown(world: World, host: MemoryHost, turn: Turn) -> None:
    driver_for(world.host).start(world.machines["cold"].pk)
    turn()
    assert turn() == ["started_outside"]


def test_paused_and_resumed_by_hand_is_shown(world: World, host: MemoryHost, turn: Turn) -> None:
    driver_for(world.host).suspend(world.machines["web"].pk)
    driver_for(world.host).resume(world.machines["paused"].pk)
    turn()
    assert turn() == ["started_outside", "stopped_outside"]


def test_a_guest_that_powers_itself_off_is_obeyed_after_a_minute(
    world: World, host: MemoryHost, turn: Turn, work: Work
) -> None:
    web = world.machines["web"]
    driver_for(world.host).shutdown(web.pk)
    assert turn() == turn() == []
    assert fresh(web).desired_power == "running", "its host may be going down"
    later(world, web)
    assert turn() == turn() == []
    assert fresh(web).desired_power == "stopped"
    assert work() == []
    assert Event.objects.unscoped("test").get(kind="vm.powered-off-inside").tenant == world.acme


def test_a_host_that_shuts_down_is_not_obeyed(world: World, host: MemoryHost, turn: Turn, work: Work) -> None:
    """It presses each guest's power key, and is gone within the minute."""
    for name in ("web", "busy"):
        driver_for(world.host).shutdown(world.machines[name].pk)
    turn()
    host.lose_power()
    for vm in world.machines.values():
        later(world, vm)
    turn()
    work()
    assert host.domains[world.machines["web"].pk][1] is PowerState.RUNNING
    assert host.domains[world.machines["cold"].pk][1] is PowerState.STOPPED


def test_after_a_power_loss_each_comes_back_as_its_owner_wants_it(
    world: World, host: MemoryHost, turn: Turn, work: Work
) -> None:
    host.lose_power()
    assert turn() == []
    operations = work()
    assert {operation.state for operation in operations} == {"succeeded"}
    assert {operation.source for operation in operations} == {"system"}
    assert {str(operation.target_name) for operation in operations} == {"web", "busy", "paused"}
    powers = {name: str(host.domains[vm.pk][1]) for name, vm in world.machines.items()}
    assert powers == {"web": "running", "busy": "running", "foreign": "running", "paused": "paused", "cold": "stopped"}
    assert turn() == []
    assert work() == []


def test_it_is_tried_three_times_and_then_shown(world: World, host: MemoryHost, turn: Turn, work: Work) -> None:
    web = world.machines["web"]
    VM.objects.unscoped("test").exclude(pk=web.pk).update(desired_power="stopped")
    host.lose_power()
    for attempt in range(3):
        host.fail_next("start", errors.NoMemory("full"))
        assert turn() == []
        (operation,) = work()
        assert operation.state == "failed"
        assert fresh(web).desired_power == "running", "the wish stays"
        assert turn() == []
        assert work() == [], "not at once again"
        Operation.objects.unscoped("test").update(finished_at=timezone.now() - timedelta(minutes=5 + attempt))
    turn()
    assert turn() == ["stopped_outside"]
    assert work() == []


def test_what_was_cut_by_hand_before_stays_off(world: World, host: MemoryHost, turn: Turn, work: Work) -> None:
    """Its card is open; a restart of the daemon, which forgets why it is off, is no reason to start it."""
    VM.objects.unscoped("test").exclude(pk=world.machines["web"].pk).update(desired_power="stopped")
    for name in ("busy", "paused", "foreign"):
        driver_for(world.host).destroy(world.machines[name].pk)
    driver_for(world.host).destroy(world.machines["web"].pk)
    turn()
    assert turn() == ["stopped_outside"]
    host.reasons.clear()
    assert turn() == ["stopped_outside"]
    assert work() == []


@pytest.mark.parametrize(("kind", "kinds"), [("vm.backup", {"vm.repair"}), ("vm.resize", set())])
def test_a_backup_in_between_does_not_keep_it_from_coming_back(
    world: World, host: MemoryHost, turn: Turn, work: Work, kind: str, kinds: set[str]
) -> None:
    """It was loaded for the backup, and what ended that is all that libvirt remembers."""
    web = world.machines["web"]
    host.lose_power()
    observed.take_reading(world.host, Reading(timezone.now(), driver_for(world.host).list_domains(), []))
    later(world, web)
    a_moment_ago = timezone.now() - timedelta(seconds=20)
    ended = {"kind": kind, "state": "succeeded", "finished_at": a_moment_ago}
    Operation.objects.unscoped("test").filter(pk=world.operation(web).pk).update(**ended)
    host.reasons[web.pk] = Reason.DESTROYED
    turn()
    turn()
    assert {each.kind for each in work() if each.target_id == web.pk} == kinds


def test_an_owner_who_is_faster_is_left_alone(world: World, host: MemoryHost, turn: Turn, work: Work) -> None:
    host.lose_power()
    own = world.operation(world.machines["web"])
    turn()
    kinds = dict(Operation.objects.unscoped("test").values_list("target_name", "kind"))
    assert kinds["web"] == own.kind
    assert kinds["busy"] == "vm.repair"
