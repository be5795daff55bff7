"""Moving machines between two hosts in memory: what is asked, what is in the way, and what the rows say afterwards."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest
from django.utils import timezone

from hosts.connections import driver_for
from hosts.driver import errors, memory
from hosts.driver.memory import MemoryHost
from hosts.driver.types import PowerState
from hosts.models import Cluster, Host, StoragePool
from hosts.observe import Reading
from portal.core.errors import Conflict, Forbidden, Invalid
from portal.events.models import Event
from portal.operations import engine
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM, actor_for
from tests.audit.mirror import beside, mirrored
from tests.world import World
from vms import observed
from vms.audit.run import audit
from vms.design import domain_spec
from vms.layers import of_machine
from vms.migration import precheck
from vms.models import VM, Layer
from vms.services.migrate import migrate_vm

pytestmark = pytest.mark.django_db


@pytest.fixture
def host(world: World) -> MemoryHost:
    Operation.objects.unscoped("test").all().delete()
    return mirrored(world)


@pytest.fixture
def near(world: World, host: MemoryHost) -> Host:
    """It sees the same storage."""
    return beside(world)


@pytest.fixture
def far(world: World, host: MemoryHost) -> Host:
    """It has storage of its own."""
    return beside(world, is_shared=False)


def fresh(vm: VM) -> VM:
    return VM.objects.unscoped("test").select_related("host__cluster").get(pk=vm.pk)


def run(operation: Operation) -> Operation:
    for _ in range(10):
        engine.run(operation.pk)
        operation = Operation.objects.unscoped("test").get(pk=operation.pk)
        if not operation.is_active:
            break
        Operation.objects.unscoped("test").filter(pk=operation.pk).update(not_before=None)
    return operation


def move(vm: VM, host: Host | None = None) -> Operation:
    return run(migrate_vm(actor=SYSTEM, vm=fresh(vm), host=host.name if host else None))


def runs_on(vm: VM, *hosts: Host) -> list[str]:
    states = [(host.name, driver_for(host).state(vm.pk)) for host in hosts]
    return [name for name, state in states if state is not None and state.power is PowerState.RUNNING]


@pytest.mark.parametrize("name", ["web", "cold", "paused"])
@pytest.mark.parametrize("place", ["near", "far"])
def test_it_is_at_the_other_host_and_nowhere_else(
    world: World, request: pytest.FixtureRequest, name: str, place: str
) -> None:
    there: Host = request.getfixturevalue(place)
    vm = world.machines[name]
    before, here = driver_for(world.host).state(vm.pk), ledger.held(world.host.pk, vm.pk)
    operation = move(vm)
    assert operation.state == "succeeded", operation.error
    found = fresh(vm)
    assert found.host_id == there.pk
    assert found.boot_volume.layer.pool.host_id == there.pk
    assert driver_for(world.host).state(vm.pk) is None
    after = driver_for(there).state(vm.pk)
    assert before is not None
    assert after is not None
    assert after.power is before.power
    assert ledger.held(world.host.pk, vm.pk) == {}
    assert here.items() <= ledger.held(there.pk, vm.pk).items()
    assert audit() == []


def test_data_of_its_own_goes_along_and_the_old_file_goes(world: World, host: MemoryHost, far: Host) -> None:
    vm, old = world.machines["web"], world.machines["web"].boot_volume.layer
    move(vm)
    new = fresh(vm).boot_volume.layer
    assert new.pk != old.pk
    assert (new.parent, new.image) == (None, None)
    assert ("berth", new.file_name) in memory.host(far.uri).volumes
    assert ("berth", old.file_name) not in host.volumes
    assert not Layer.objects.filter(pk=old.pk).exists()


def test_on_shared_storage_nothing_is_copied(world: World, host: MemoryHost, near: Host) -> None:
    vm = world.machines["web"]
    old, files = vm.boot_volume.layer, set(host.volumes)
    move(vm)
    assert fresh(vm).boot_volume.layer_id == old.pk
    assert set(host.volumes) == files


def test_its_other_disks_and_snapshots_go_with_it(world: World, near: Host) -> None:
    vm = world.machines["web"]
    volume, point = world.volume(vm=vm), world.snapshot()
    for each in (volume, point):
        ledger.hold(world.host.pk, each.pk, {"disk_gib": each.size_gib}, {})
    driver = driver_for(world.host)
    for layer in sorted(of_machine(vm), key=lambda layer: layer.created_at):
        if layer.parent is not None:
            driver.ensure_overlay("berth", layer.file_name, layer.parent.file_name, layer.size_bytes)
        elif layer.image is None:
            driver.ensure_volume("berth", layer.file_name, layer.size_bytes)
    driver.define(domain_spec(fresh(vm), world.host, 1))
    assert move(vm).state == "succeeded"
    assert ledger.held(world.host.pk, volume.pk) == {}
    assert ledger.held(near.pk, volume.pk) == {"disk_gib": volume.size_gib}
    assert ledger.held(near.pk, point.pk) == {"disk_gib": point.size_gib}
    assert {layer.pool.host_id for layer in of_machine(fresh(vm))} == {near.pk}
    assert audit() == []


def test_its_owner_reads_what_it_has_cost_and_no_name_of_a_host(world: World, near: Host) -> None:
    move(world.machines["web"])
    event = Event.objects.unscoped("test").get(kind="vm.migrated")
    assert event.data["after"] == {"is_live": True, "downtime_ms": 5, "total_ms": 100, "sent_bytes": 128 << 20}
    told = [str(each.data) + each.target_name for each in Event.objects.unscoped("test").filter(tenant=world.acme)]
    assert not any(name in words for words in told for name in (near.hostname, str(near.pk), near.uri))


def test_a_tenant_may_not(world: World, near: Host) -> None:
    with pytest.raises(Forbidden):
        migrate_vm(actor=actor_for(world.people["owner"]), vm=world.machines["web"])


def test_a_host_that_is_none_is_told_at_the_field(world: World, near: Host) -> None:
    with pytest.raises(Invalid) as refusal:
        migrate_vm(actor=SYSTEM, vm=world.machines["web"], host="three")
    assert refusal.value.field == "host"
    with pytest.raises(Invalid):
        migrate_vm(actor=SYSTEM, vm=world.machines["web"], host=world.host.name)


OBSTACLES = [
    ({"state": "cordoned"}, "takes no machines (cordoned)"),
    ({"accelerator": ""}, "no way to run machines"),
    ({"accelerator": "kvm"}, "runs guests in another way (kvm)"),
    ({"cpus": 0}, "no room"),
    ({"is_unknown": True}, "backup was restored"),
    ({"uri": "qemu:///system"}, "do not know how to reach it"),
]


@pytest.mark.parametrize(("change", "words"), OBSTACLES)
def test_what_is_in_the_way_is_told_before_anything_is_done(
    world: World, near: Host, change: dict[str, object], words: str
) -> None:
    Host.objects.filter(pk=near.pk).update(**change)
    (target,) = precheck(fresh(world.machines["web"])).targets
    assert words in " ".join(target.obstacles)
    for name in (near.name, None):
        with pytest.raises(Conflict, match=words[:12]):
            migrate_vm(actor=SYSTEM, vm=fresh(world.machines["web"]), host=name)
    assert not Operation.objects.unscoped("test").exists()
    assert ledger.used(near.pk) == {}


def test_hosts_of_different_processors_need_a_baseline(world: World, near: Host) -> None:
    Host.objects.update(accelerator="kvm", cpu_model="Skylake")
    Host.objects.filter(pk=near.pk).update(cpu_model="Broadwell")
    (target,) = precheck(fresh(world.machines["web"])).targets
    assert "processor is Broadwell" in target.obstacles[0]
    Cluster.objects.update(cpu_model="Westmere")
    (target,) = precheck(fresh(world.machines["web"])).targets
    assert target.obstacles == ()


def test_snapshots_on_storage_of_the_hosts_own_are_told(world: World, far: Host) -> None:
    point = world.snapshot()
    (target,) = precheck(fresh(point.vm)).targets
    assert "snapshots lie on storage" in target.obstacles[0]


def test_storage_of_another_class_is_told(world: World, far: Host) -> None:
    StoragePool.objects.filter(host=far).update(error="not mounted")
    (target,) = precheck(fresh(world.machines["web"])).targets
    assert "no storage of the class" in target.obstacles[0]


def test_a_failure_leaves_it_where_it_was(world: World, host: MemoryHost, far: Host) -> None:
    vm, layer = world.machines["web"], world.machines["web"].boot_volume.layer
    host.fail_next("migrate", errors.DriverError("internal error"))
    operation = move(vm)
    assert operation.state == "failed"
    assert operation.error is not None
    assert runs_on(vm, world.host, far) == ["one"]
    assert fresh(vm).host_id == world.host.pk
    assert fresh(vm).boot_volume.layer_id == layer.pk
    assert ledger.used(far.pk) == {}
    assert {name for _, name in memory.host(far.uri).volumes} == {"berth-storage"}
    assert audit() == []


def test_a_cancel_leaves_it_where_it_was(world: World, far: Host) -> None:
    vm = world.machines["web"]
    operation = migrate_vm(actor=SYSTEM, vm=fresh(vm))
    operations.cancel(actor=SYSTEM, operation=operation)
    assert run(operation).state == "cancelled"
    assert runs_on(vm, world.host, far) == ["one"]
    assert ledger.used(far.pk) == {}
    assert audit() == []


def test_a_target_that_does_not_answer_keeps_nobody(world: World, host: MemoryHost, far: Host) -> None:
    vm, there = world.machines["web"], memory.host(far.uri)
    host.fail_next("migrate", errors.DriverError("connection lost"))
    there.fail_next("state", errors.Unreachable("no route"))
    there.fail_next("delete_volume", errors.Unreachable("no route"))
    assert move(vm).state == "failed"
    assert there.faults == {"state": deque(), "delete_volume": deque()}
    assert runs_on(vm, world.host, far) == ["one"]


def test_one_that_is_switched_off_meanwhile_does_not_go(world: World, host: MemoryHost, near: Host) -> None:
    vm = world.machines["web"]
    operation = migrate_vm(actor=SYSTEM, vm=fresh(vm))
    driver_for(world.host).destroy(vm.pk)
    operation = run(operation)
    assert operation.state == "failed"
    assert operation.error is not None
    assert operation.error["code"] == "guest_switched"
    assert fresh(vm).host_id == world.host.pk


def test_what_a_last_moment_left_behind_goes(world: World, host: MemoryHost, near: Host) -> None:
    """The source was told nothing of the arrival: its guest is paused, and the other runs."""
    vm = world.machines["web"]
    operation = migrate_vm(actor=SYSTEM, vm=fresh(vm))
    spec, _ = host.domains[vm.pk]
    host.domains[vm.pk] = (spec, PowerState.STOPPED)
    memory.host(near.uri).domains[vm.pk] = (replace(spec, attempt=0), PowerState.RUNNING)
    assert run(operation).state == "succeeded"
    assert runs_on(vm, world.host, near) == ["two"]
    assert vm.pk not in host.domains


def test_its_host_tells_nothing_while_it_moves(world: World, host: MemoryHost, near: Host) -> None:
    vm = world.machines["web"]
    operation = migrate_vm(actor=SYSTEM, vm=fresh(vm))
    observed.take_reading(world.host, Reading(timezone.now(), [], []))
    assert not fresh(vm).is_missing
    assert run(operation).state == "succeeded"
    observed.take_reading(near, Reading(timezone.now(), [], []))
    assert fresh(vm).is_missing
