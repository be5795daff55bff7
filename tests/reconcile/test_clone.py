"""Clones from the request to the end, on a host in memory: what is there afterwards, on the host and in the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hosts.connections import driver_for
from hosts.driver import errors
from hosts.driver.memory import MemoryHost
from hosts.driver.types import PowerState
from portal.events.models import Event
from portal.operations import engine, services
from portal.operations.models import Operation, OperationHold
from portal.operations.selectors import active_on_each
from portal.quotas.models import Claim
from portal.tenancy.gate import SYSTEM
from portal.web.presenters import event as words
from tests.engine.kind import expire_lease
from tests.reconcile.conftest import fresh
from tests.world import World
from vms.audit.findings import Kind
from vms.audit.run import audit
from vms.models import VM, Layer, Volume
from vms.services.clone import clone_vm
from vms.services.delete import delete_vm
from vms.workflows.clear_up import clear_up_soon, remove_unneeded
from vms.workflows.clone import FULL, LINKED

pytestmark = pytest.mark.django_db(transaction=True)
Turn = Callable[[], list[str]]
CASES = [(machine, mode) for machine in ("cold", "web") for mode in (FULL, LINKED)]


@pytest.fixture(autouse=True)
def _wells(world: World, host: MemoryHost) -> None:
    """Each machine with a second disk."""
    for name in ("cold", "web"):
        vm = world.machines[name]
        layer = Layer.objects.create(pool=world.host.default_pool, size_gib=3)
        volume = Volume.objects.create(tenant=vm.tenant, vm=vm, name="data", target="vdb", size_gib=3, layer=layer)
        for account in (vm.tenant_id, vm.host_id):
            Claim.objects.create(account_id=account, holder_id=volume.pk, resource="disk_gib", amount=3)
        driver = driver_for(world.host)
        driver.ensure_volume("berth", layer.file_name, layer.size_bytes)
        again(driver, vm)


def again(driver: Any, vm: VM) -> None:
    from vms.design import domain_spec

    was_on = driver.state(vm.pk).power is PowerState.RUNNING
    driver.destroy(vm.pk)
    driver.define(domain_spec(fresh(vm), vm.host, 1))
    if was_on:
        driver.start(vm.pk)


def all_is_well(world: World) -> bool:
    """On the host, and in the books of what is held."""
    return not [each for each in audit() if each.host_id == world.host.pk or each.kind is Kind.CLAIM_WRONG]


def worked(operation: Operation) -> Operation:
    for _ in range(20):
        expire_lease(operation)
        engine.run(operation.pk)
        operation.refresh_from_db()
        if not operation.is_active:
            return operation
    raise AssertionError(operation.waiting_for)


def clone(source: VM, mode: str, name: str = "copy") -> tuple[VM, Operation]:
    new, operation = clone_vm(actor=SYSTEM, vm=source, name=name, mode=mode)
    return new, worked(operation)


@pytest.mark.parametrize(("machine", "mode"), CASES)
def test_all_disks_are_there_and_nothing_is_left_over(world: World, host: MemoryHost, machine: str, mode: str) -> None:
    source = world.machines[machine]
    before = {volume.target: volume.layer for volume in source.volumes.all()}
    power = host.domains[source.pk][1]
    new, operation = clone(source, mode)
    assert operation.status == "succeeded", operation.error
    assert (fresh(new).status, host.domains[new.pk][1]) == ("running", PowerState.RUNNING)
    assert host.domains[source.pk][1] is power
    made = {volume.target: volume for volume in fresh(new).volumes.all()}
    assert {target: volume.name for target, volume in made.items()} == {"vda": "boot", "vdb": "data"}
    for target, volume in made.items():
        backing = host.volumes["berth", volume.layer.file_name].backing
        assert backing == (before[target].file_name if mode == LINKED else None)
    is_frozen = machine == "web" or mode == LINKED
    clear_up_soon(source.pk)
    merging = active_on_each([source.pk]).get(source.pk)
    assert (merging is not None) is (machine == "web" and mode == FULL), "what nothing stands on is merged"
    if merging is not None:
        assert worked(merging).status == "succeeded"
    for volume in fresh(source).volumes.all():
        assert (volume.layer.parent == before[volume.target]) is (is_frozen and mode == LINKED)
    assert active_on_each([source.pk]) == {}
    assert all_is_well(world)


@pytest.mark.parametrize(("machine", "mode"), CASES)
@pytest.mark.parametrize("step", ["freeze", "copy", "seed", "define", "start"])
def test_one_that_fails_leaves_both_as_they_should_be(
    world: World, host: MemoryHost, monkeypatch: pytest.MonkeyPatch, machine: str, mode: str, step: str
) -> None:
    source = world.machines[machine]
    claims = sorted(Claim.objects.values_list("holder_id", "resource", "amount"))

    def hook(moment: str, name: str) -> None:
        if (moment, name) == ("after", step):
            raise errors.NoSpace("the pool is full")

    new, operation = clone_vm(actor=SYSTEM, vm=source, name="copy", mode=mode)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "step_hook", hook)
        assert worked(operation).status == "failed"
    clear_up_soon(source.pk)
    for merging in active_on_each([source.pk]).values():
        assert worked(merging).status == "succeeded"
    assert Layer.objects.filter(parent__volume=None).exclude(parent=None).count() == 0, "nothing is left of the freeze"
    assert not VM.objects.unscoped("test").filter(pk=new.pk).exists()
    assert sorted(Claim.objects.values_list("holder_id", "resource", "amount")) == claims
    assert not Layer.objects.filter(volume=None, children=None).exists()
    assert all_is_well(world)
    told = [row.words for row in words.rows(Event.objects.unscoped("test").filter(target_id=source.pk))]
    assert "could not be cloned" in told


def test_a_freeze_that_never_was_is_taken_back(world: World, host: MemoryHost) -> None:
    source = world.machines["web"]
    layers = Layer.objects.count()
    _, operation = clone_vm(actor=SYSTEM, vm=source, name="copy", mode=LINKED)
    host.fail_next("ensure_overlay", errors.NoSpace("the pool is full"))
    assert worked(operation).status == "failed"
    assert Layer.objects.count() == layers
    assert fresh(source).boot_volume.layer.parent is None


def test_a_freeze_of_which_nobody_heard_is_believed_when_it_is_cancelled(
    world: World, host: MemoryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guest writes to the new layers by then: giving them back would lose what it wrote."""
    from hosts.driver.memory import MemoryDriver

    source, freeze = world.machines["web"], MemoryDriver.freeze

    def unheard(*arguments: Any, **options: Any) -> bool:
        freeze(*arguments, **options)
        raise errors.Timeout("no answer")

    _, operation = clone_vm(actor=SYSTEM, vm=source, name="copy", mode=LINKED)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryDriver, "freeze", unheard)
        engine.run(operation.pk)
    services.cancel(actor=SYSTEM, operation=Operation.objects.unscoped("test").get(pk=operation.pk))
    worked(operation)
    for volume in fresh(source).volumes.all():
        assert host.running[source.pk][volume.target].volume == volume.layer.file_name
    assert all_is_well(world)


@pytest.mark.parametrize("first", ["source", "clone"])
def test_whoever_goes_first_the_other_keeps_what_it_stands_on(world: World, host: MemoryHost, first: str) -> None:
    source = world.machines["cold"]
    new, _ = clone(source, LINKED)
    bases = {volume.layer.parent.file_name for volume in fresh(new).volumes.all() if volume.layer.parent}
    going, staying = (source, new) if first == "source" else (new, source)
    Volume.objects.unscoped("test").filter(vm=going, is_boot=False).update(vm=None)
    assert worked(delete_vm(actor=SYSTEM, vm=fresh(going))).status == "succeeded"
    for volume in fresh(staying).volumes.all():
        assert host.volumes["berth", volume.layer.file_name].backing in bases
    Volume.objects.unscoped("test").filter(vm=staying, is_boot=False).update(vm=None)
    assert worked(delete_vm(actor=SYSTEM, vm=fresh(staying))).status == "succeeded"
    left = {name for _, name in host.volumes}
    assert not {base for base in bases if base in left and not Layer.objects.filter(volume__name="data").exists()}
    boots = Layer.objects.filter(volume=None, children=None)
    assert not boots.exists(), "what nobody stands on any more went with the last one"


def test_what_only_a_clone_stood_on_is_merged_once_that_is_gone(world: World, host: MemoryHost) -> None:
    source = world.machines["web"]
    new, _ = clone(source, LINKED)
    clear_up_soon(source.pk)
    assert active_on_each([source.pk]) == {}, "the clone stands on it"
    Volume.objects.unscoped("test").filter(vm=new, is_boot=False).delete()
    Layer.objects.filter(volume=None, children=None, snapshot_disk=None).delete()
    assert worked(delete_vm(actor=SYSTEM, vm=fresh(new), purge=True)).status == "succeeded"
    clear_up_soon(source.pk)
    assert worked(active_on_each([source.pk])[source.pk]).status == "succeeded"
    assert all(volume.layer.parent is None for volume in fresh(source).volumes.all())


def test_both_can_be_cloned_again_and_again(world: World, host: MemoryHost) -> None:
    source = world.machines["web"]
    first, _ = clone(source, LINKED, "one")
    assert clone(fresh(source), LINKED, "two")[1].status == "succeeded"
    assert clone(fresh(first), LINKED, "three")[1].status == "succeeded"
    assert clone(fresh(first), FULL, "four")[1].status == "succeeded"
    assert all_is_well(world)


def test_the_source_is_free_once_the_disks_are_there(
    world: World, host: MemoryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, seen = world.machines["cold"], []
    _, operation = clone_vm(actor=SYSTEM, vm=source, name="copy", mode=FULL)
    hook = lambda moment, name: seen.append((moment, name, source.pk in active_on_each([source.pk])))  # noqa: E731
    monkeypatch.setattr(engine, "step_hook", hook)
    worked(operation)
    assert ("before", "copy", True) in seen
    assert ("before", "seed", False) in seen


def test_both_are_purged_at_one_moment(world: World, host: MemoryHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each finds that the other one needs what both stand on; the clock finds that nobody does."""
    source = world.machines["cold"]
    new, _ = clone(source, LINKED)
    base = fresh(new).boot_volume.layer.parent
    first, second = (delete_vm(actor=SYSTEM, vm=fresh(vm), purge=True) for vm in (source, new))

    def hook(moment: str, name: str) -> None:
        if (moment, name) == ("after", "volumes"):
            monkeypatch.setattr(engine, "step_hook", None)
            assert worked(second).status == "succeeded"

    monkeypatch.setattr(engine, "step_hook", hook)
    assert worked(first).status == "succeeded"
    assert ("berth", base.file_name) in host.volumes
    assert [each.object for each in audit() if each.kind is Kind.LAYER_UNNEEDED] == [str(base.pk)]
    remove_unneeded()
    assert ("berth", base.file_name) not in host.volumes
    assert not Layer.objects.filter(pk=base.pk).exists()
    assert Kind.LAYER_UNNEEDED not in {each.kind for each in audit()}
    assert all_is_well(world)


def test_a_clone_that_fails_when_its_source_is_gone(
    world: World, host: MemoryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = world.machines["cold"]
    Volume.objects.unscoped("test").filter(vm=source, is_boot=False).update(vm=None, target="")
    base = source.boot_volume.layer
    new, operation = clone_vm(actor=SYSTEM, vm=fresh(source), name="copy", mode=LINKED)

    def hook(moment: str, name: str) -> None:
        if (moment, name) == ("after", "seed"):
            monkeypatch.setattr(engine, "step_hook", None)
            assert worked(delete_vm(actor=SYSTEM, vm=fresh(source), purge=True)).status == "succeeded"
            raise errors.NoSpace("the pool is full")

    monkeypatch.setattr(engine, "step_hook", hook)
    assert worked(operation).status == "failed"
    assert not VM.objects.unscoped("test").filter(pk__in=[new.pk, source.pk]).exists()
    remove_unneeded()
    assert ("berth", base.file_name) not in host.volumes
    assert not Layer.objects.filter(pk=base.pk).exists()
    assert all_is_well(world)


def test_the_clock_takes_a_whole_chain_and_leaves_what_an_operation_holds(world: World, host: MemoryHost) -> None:
    driver, pool = driver_for(world.host), world.host.default_pool
    base = Layer.objects.create(pool=pool, size_gib=1)
    top, held = (Layer.objects.create(pool=pool, parent=parent, size_gib=1) for parent in (base, None))
    for layer in (base, top, held):
        driver.ensure_volume("berth", layer.file_name, layer.size_bytes)
    _, operation = clone_vm(actor=SYSTEM, vm=world.machines["cold"], name="copy", mode=FULL)
    OperationHold.objects.create(operation=operation, object_type="layer", object_id=held.pk)
    host.fail_next("delete_volume", errors.Unreachable("it is off"))
    remove_unneeded()
    assert Layer.objects.filter(pk__in=[base.pk, top.pk]).count() == 2, "the host did not answer"
    remove_unneeded()
    assert {name for _, name in host.volumes} & {each.file_name for each in (base, top, held)} == {held.file_name}
    assert list(Layer.objects.filter(pk__in=[base.pk, top.pk, held.pk])) == [held]
