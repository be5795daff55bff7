"""Moving machines between two hosts in memory: what is asked, what is in the way, and what the rows say afterwards."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest
from django.utils import timezone

from hosts.connections import driver_for
from hosts.driver import errors, memory
from hosts.driver.memory import MemoryHost
from hosts.driver.types import Journey, MigrationFacts, PowerState
from hosts.models import Cluster, Host, StoragePool
from hosts.observe import Reading
from portal.core.errors import Conflict, Forbidden, Invalid
from portal.events.models import Event
from portal.operations import engine
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.workflow import StepContext
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM, actor_for
from tests.audit.mirror import beside, mirrored
from tests.world import World
from vms import observed
from vms.audit.run import audit
from vms.design import domain_spec
from vms.layers import fresh_on, of_machine
from vms.migration import precheck
from vms.models import VM, Layer, Volume
from vms.services.migrate import migrate_vm
from vms.workflows.migrate import _Move

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


@pytest.mark.parametrize(
    "change", [{"storage_id": ""}, {"path": "/mnt/elsewhere"}], ids=["not recognised", "another path"]
)
def test_the_seed_stays_where_both_hosts_may_see_the_same_file(
    world: World, near: Host, change: dict[str, str]
) -> None:
    StoragePool.objects.filter(host=near).update(**change)
    vm = world.machines["web"]
    assert move(vm, near).state == "succeeded"
    assert ("berth", vm.seed_volume) in memory.host(near.uri).volumes


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


# -- the way back -------------------------------------------------------------------------------------------------


def on_its_way(vm: VM, to: Host) -> Operation:
    """Its memory is on the way; the source is asked again in a moment."""
    operation = migrate_vm(actor=SYSTEM, vm=fresh(vm))
    driver_for(vm.host).migrate(_Move(context_of(operation)).spec(), Journey(to.uri), lambda: None)
    return operation


def context_of(operation: Operation) -> StepContext:
    nothing = lambda *_: None  # noqa: E731
    return StepContext(operation, operation.params, {}, 1, {}, nothing, nothing, nothing)


def give_up(operation: Operation) -> Operation:
    """It failed, and what the hosts have of it is to be settled."""
    turned = Operation.objects.unscoped("test").filter(pk=operation.pk)
    turned.update(state="unwinding", error={"code": "migration_failed", "detail": ""})
    operation.steps.exclude(name="clear").update(state="failed")
    return once(operation)


def once(operation: Operation) -> Operation:
    Operation.objects.unscoped("test").filter(pk=operation.pk).update(not_before=None)
    engine.run(operation.pk)
    return Operation.objects.unscoped("test").get(pk=operation.pk)


def put_guest(vm: VM, host: Host, power: PowerState, *, is_transient: bool = True) -> None:
    there = memory.host(host.uri)
    there.domains[vm.pk] = (replace(domain_spec(fresh(vm), host, 1), attempt=0), power)
    if is_transient:
        there.transient.add(vm.pk)


def pause_at_the_end(vm: VM, host: MemoryHost) -> None:
    """By its migration, in the last moment of it."""
    host.domains[vm.pk] = (host.domains[vm.pk][0], PowerState.PAUSED)
    host.left_paused.add(vm.pk)


def fail(host: Host) -> None:
    """It is off, and was fenced off."""
    memory.host(host.uri).lose_power()
    Host.objects.filter(pk=host.pk).update(state="failed")


def test_nothing_is_settled_while_it_goes_on_after_all(world: World, host: MemoryHost, near: Host) -> None:
    """After the switch to post-copy, and where the end was accepted too late."""
    vm = world.machines["web"]
    operation = on_its_way(vm, near)
    pause_at_the_end(vm, host)
    host.past_return.add(vm.pk)
    put_guest(vm, near, PowerState.PAUSED)
    host.calls.clear()
    operation = give_up(operation)
    assert operation.state == "unwinding"
    assert "the end of the move" in operation.waiting_for
    assert "stay" not in host.calls
    assert vm.pk in memory.host(near.uri).domains
    del host.domains[vm.pk]
    host.past_return.clear()
    put_guest(vm, near, PowerState.RUNNING)
    assert once(operation).state == "failed"
    assert fresh(vm).host_id == near.pk
    assert runs_on(vm, world.host, near) == ["two"]


def test_what_comes_in_is_ended_before_the_guest_goes_on_here(world: World, host: MemoryHost, near: Host) -> None:
    vm, there = world.machines["web"], memory.host(near.uri)
    operation = on_its_way(vm, near)
    pause_at_the_end(vm, host)
    put_guest(vm, near, PowerState.PAUSED)
    there.calls = host.calls = []
    assert give_up(operation).state == "failed"
    assert host.calls.index("destroy") < host.calls.index("stay")
    assert runs_on(vm, world.host, near) == ["one"]
    assert vm.pk not in there.domains


def test_it_does_not_go_on_here_while_nobody_knows_of_the_other(world: World, host: MemoryHost, near: Host) -> None:
    vm, there = world.machines["web"], memory.host(near.uri)
    operation = on_its_way(vm, near)
    pause_at_the_end(vm, host)
    put_guest(vm, near, PowerState.PAUSED)
    there.fail_next("destroy", errors.Unreachable("no route"))
    operation = give_up(operation)
    assert operation.state == "unwinding"
    assert runs_on(vm, world.host, near) == []
    assert once(operation).state == "failed"
    assert runs_on(vm, world.host, near) == ["one"]


def test_one_that_runs_there_and_could_not_be_kept_for_good_is_there(
    world: World, host: MemoryHost, near: Host
) -> None:
    vm = world.machines["web"]
    operation = on_its_way(vm, near)
    pause_at_the_end(vm, host)
    put_guest(vm, near, PowerState.RUNNING)
    give_up(operation)
    assert fresh(vm).host_id == near.pk
    assert runs_on(vm, world.host, near) == ["two"]
    state = driver_for(near).state(vm.pk)
    assert state is not None
    assert state.persistent


def test_one_that_went_after_it_was_asked_for_is_not_lost(
    world: World, host: MemoryHost, near: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was taken over had announced it, and begins it at the last moment."""
    vm = world.machines["web"]
    operation = on_its_way(vm, near)

    def goes(*_: object) -> None:
        del host.domains[vm.pk]
        put_guest(vm, near, PowerState.RUNNING, is_transient=False)

    monkeypatch.setattr("hosts.driver.memory.driver.MemoryDriver.stay", goes)
    give_up(operation)
    assert fresh(vm).host_id == near.pk
    assert runs_on(vm, near) == ["two"]


@pytest.mark.parametrize("power", [PowerState.RUNNING, PowerState.PAUSED])
@pytest.mark.parametrize("place", ["near", "far"])
def test_where_the_target_was_fenced_off_it_goes_on_where_it_was(
    world: World, host: MemoryHost, request: pytest.FixtureRequest, power: PowerState, place: str
) -> None:
    there: Host = request.getfixturevalue(place)
    vm = world.machines["web"]
    operation = on_its_way(vm, there)
    if power is PowerState.PAUSED:
        pause_at_the_end(vm, host)
    fail(there)
    assert give_up(operation).state == "failed"
    assert runs_on(vm, world.host) == ["one"]
    assert vm.pk not in host.migrations
    assert ledger.used(there.pk) == {}


def test_where_the_target_was_fenced_off_one_that_was_off_is_off_again(
    world: World, host: MemoryHost, far: Host
) -> None:
    vm = world.machines["cold"]
    operation = migrate_vm(actor=SYSTEM, vm=fresh(vm))
    driver_for(world.host).migrate(_Move(context_of(operation)).spec(), Journey(far.uri, is_off=True), lambda: None)
    fail(far)
    assert give_up(operation).state == "failed"
    assert host.domains[vm.pk][1] is PowerState.STOPPED
    Host.objects.filter(pk=far.pk).update(state="enabled")
    assert move(vm).state == "succeeded"


def test_one_that_has_died_with_the_target_is_defined_here_again(world: World, host: MemoryHost, near: Host) -> None:
    vm = world.machines["web"]
    operation = on_its_way(vm, near)
    del host.domains[vm.pk]
    put_guest(vm, near, PowerState.RUNNING, is_transient=False)
    fail(near)
    assert give_up(operation).state == "failed"
    assert fresh(vm).host_id == world.host.pk
    assert host.domains[vm.pk][1] is PowerState.STOPPED
    assert fresh(vm).observed_power == "stopped"


def test_one_that_has_arrived_whole_goes_on_though_its_source_was_fenced_off(
    world: World, host: MemoryHost, far: Host
) -> None:
    vm = world.machines["web"]
    operation = on_its_way(vm, far)
    driver_for(far).ensure_volume("berth", _new_layer(operation).file_name, 1 << 30)
    put_guest(vm, far, PowerState.RUNNING, is_transient=False)
    fail(world.host)
    give_up(operation)
    found = fresh(vm)
    assert found.host_id == far.pk
    assert found.boot_volume.layer == _new_layer(operation)
    assert found.observed_power == "running"
    assert runs_on(vm, far) == ["two"]
    assert ledger.held(world.host.pk, vm.pk) == {}
    assert ledger.held(far.pk, vm.pk) != {}


def _new_layer(operation: Operation) -> Layer:
    (ids,) = operation.params["disks"].values()
    return Layer.objects.get(pk=ids["to"])


@pytest.mark.parametrize("lack", ["memory", "definition", "power"])
def test_nothing_of_one_that_is_not_whole_is_left_where_its_source_was_fenced_off(
    world: World, host: MemoryHost, near: Host, lack: str
) -> None:
    vm, there = world.machines["web"], memory.host(near.uri)
    operation = on_its_way(vm, near)
    put_guest(vm, near, PowerState.PAUSED if lack == "power" else PowerState.RUNNING, is_transient=lack == "definition")
    if lack == "memory":
        there.in_parts.add(vm.pk)
    fail(world.host)
    assert give_up(operation).state == "failed"
    assert fresh(vm).host_id == world.host.pk
    assert vm.pk not in there.domains
    assert ledger.used(near.pk) == {}


def test_where_both_hosts_were_fenced_off_it_ends(world: World, host: MemoryHost, near: Host) -> None:
    vm = world.machines["web"]
    operation = on_its_way(vm, near)
    fail(world.host)
    fail(near)
    assert give_up(operation).state == "failed"
    assert fresh(vm).host_id == world.host.pk


def test_its_host_tells_nothing_while_it_moves(world: World, host: MemoryHost, near: Host) -> None:
    vm = world.machines["web"]
    operation = migrate_vm(actor=SYSTEM, vm=fresh(vm))
    observed.take_reading(world.host, Reading(timezone.now(), [], []))
    assert not fresh(vm).is_missing
    assert run(operation).state == "succeeded"
    observed.take_reading(near, Reading(timezone.now(), [], []))
    assert fresh(vm).is_missing


def test_a_host_remembers_how_the_last_one_to_it_ended(
    world: World, near: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert move(world.machines["cold"]).state == "succeeded"
    assert Host.objects.get(pk=near.pk).arrival == {}  # the hosts did not speak to each other
    refused = MigrationFacts(0, 0, True, error="unable to connect to server: Connection refused")
    with monkeypatch.context() as broken:
        broken.setattr(memory.MemoryDriver, "migrate", lambda *given, **more: refused)
        failed = move(world.machines["web"])
    assert (failed.error or {})["code"] == "migration_failed"
    arrival = Host.objects.get(pk=near.pk).arrival
    assert (arrival["source"], arrival["has_arrived"]) == ("one", False)
    assert move(world.machines["web"]).state == "succeeded"
    assert Host.objects.get(pk=near.pk).arrival["has_arrived"] is True


class TestFilesThatDoNotGoAlong:
    @pytest.mark.parametrize("name", ["web", "cold"])
    def test_where_one_is_missing_nothing_is_changed(
        self, world: World, host: MemoryHost, near: Host, name: str
    ) -> None:
        """The pool there has lost its file system since it was checked, or is a copy of the directory."""
        vm, there = world.machines[name], memory.host(near.uri)
        there.volumes = {key: value for key, value in host.volumes.items() if key[1] != _file_of(vm)}
        before = driver_for(world.host).state(vm.pk), ledger.held(near.pk, vm.pk)
        operation = move(vm, near)
        assert (operation.state, operation.error["code"]) == ("failed", "disk_missing")
        assert f"{_file_of(vm)} is not in the pool berth of the other host" in operation.error["detail"]
        assert (driver_for(world.host).state(vm.pk), ledger.held(near.pk, vm.pk)) == before
        assert (fresh(vm).host_id, driver_for(near).state(vm.pk)) == (world.host.pk, None)
        assert not any(there.dhcp_hosts.values())

    def test_what_they_stand_on_must_be_there_too(self, world: World, host: MemoryHost, near: Host) -> None:
        vm, there = world.machines["cold"], memory.host(near.uri)
        below = vm.boot_volume.layer
        Volume.objects.unscoped("test").filter(pk=vm.boot_volume.pk).update(layer=fresh_on(below, below.size_gib))
        top = fresh(vm).boot_volume.layer
        host.volumes["berth", top.file_name] = host.volumes["berth", below.file_name]
        there.volumes = {key: value for key, value in host.volumes.items() if key[1] != below.file_name}
        operation = move(vm, near)
        assert (operation.state, operation.error["code"]) == ("failed", "disk_missing")
        assert below.file_name in operation.error["detail"]

    def test_of_disks_that_go_along_none_is_asked_for(self, world: World, far: Host) -> None:
        assert ("berth", _file_of(world.machines["cold"])) not in memory.host(far.uri).volumes
        assert move(world.machines["cold"], far).state == "succeeded"


def _file_of(vm: VM) -> str:
    return vm.boot_volume.layer.file_name
