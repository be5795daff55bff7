"""Seeds, which hold what owners entrust to their machines, do not stay on hosts that the machines have left."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from hosts.connections import driver_for
from hosts.driver import errors, memory
from hosts.driver.memory import MemoryHost
from hosts.models import Host, StoragePool
from portal.operations import engine
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.tenancy.gate import SYSTEM
from tests.audit.mirror import beside
from tests.world import World
from vms.audit.findings import Kind
from vms.audit.run import audit
from vms.design import domain_spec
from vms.models import VM, Drift
from vms.reconcile.turn import Reconciler
from vms.services.migrate import migrate_vm
from vms.workflows.clean_up import CLEAN_UP

pytestmark = pytest.mark.django_db


@pytest.fixture
def far(world: World, host: MemoryHost) -> Host:
    """With storage of its own, and a seed of `web` that was left there."""
    far = beside(world, is_shared=False)
    driver_for(far).upload("berth", world.machines["web"].seed_volume, b"seed", "raw")
    Host.objects.update(seen_at=timezone.now())
    return far


def has_seed(host: Host, vm: VM) -> bool:
    return ("berth", vm.seed_volume) in memory.host(host.uri).volumes


def told() -> set[tuple[str, str]]:
    return {(finding.host, finding.object) for finding in audit() if finding.kind == Kind.VOLUME_WITHOUT_OWNER}


def test_one_that_was_left_behind_goes(world: World, far: Host) -> None:
    vm = world.machines["web"]
    assert told() == {("two", vm.seed_volume)}
    Reconciler().turn()
    assert not has_seed(far, vm)
    assert has_seed(world.host, vm)
    assert told() == set()


def test_one_that_a_move_could_not_remove_goes_later(world: World, host: MemoryHost, far: Host) -> None:
    vm = VM.objects.unscoped("test").select_related("host__cluster").get(pk=world.machines["web"].pk)
    operation = migrate_vm(actor=SYSTEM, vm=vm)
    host.fail_next("delete_volume", errors.Unreachable("no route"))
    for _ in range(10):
        Operation.objects.unscoped("test").filter(pk=operation.pk).update(not_before=None)
        engine.run(operation.pk)
    operation.refresh_from_db()
    assert operation.state == "succeeded"
    assert has_seed(world.host, vm)
    Operation.objects.unscoped("test").update(finished_at=timezone.now() - timedelta(minutes=5))
    Reconciler().turn()
    assert not has_seed(world.host, vm)
    assert has_seed(far, vm)


@pytest.mark.parametrize(
    "change", [{"storage_id": ""}, {"path": "/mnt/elsewhere"}], ids=["not recognised", "another path"]
)
def test_one_that_may_be_the_machines_own_stays(world: World, host: MemoryHost, change: dict[str, str]) -> None:
    """A host that was just added sees the same directory, and nobody knows it yet."""
    near = beside(world, "near")
    StoragePool.objects.filter(host=near).update(**change)
    driver_for(near).upload("berth", world.machines["web"].seed_volume, b"seed", "raw")
    Host.objects.update(seen_at=timezone.now())
    Reconciler().turn()
    assert has_seed(near, world.machines["web"])
    assert told() == set()


def test_one_of_a_machine_that_moves_or_is_defined_there_stays(world: World, far: Host) -> None:
    vm = world.machines["web"]
    driver_for(far).define(domain_spec(vm, far, 1))
    Reconciler().turn()
    assert has_seed(far, vm)
    driver_for(far).undefine(vm.pk)
    world.operation(vm)
    Reconciler().turn()
    assert told() == set()
    assert has_seed(far, vm)


def test_one_on_storage_that_its_host_sees_stays(world: World, host: MemoryHost) -> None:
    near = beside(world)
    Host.objects.update(seen_at=timezone.now())
    Reconciler().turn()
    assert has_seed(near, world.machines["web"])
    assert told() == set()


def test_an_administrator_may_have_it_removed(world: World, far: Host) -> None:
    vm, now = world.machines["web"], timezone.now()
    times = {"first_seen": now, "last_seen": now}
    drift = Drift.objects.create(host=far, kind="volume_without_owner", object=vm.seed_volume, detail="", **times)
    operation = operations.submit(CLEAN_UP, actor=SYSTEM, target=drift, title="Clean up", lane=far.pk)
    engine.run(operation.pk)
    operation.refresh_from_db()
    assert operation.state == "succeeded", operation.error
    assert not has_seed(far, vm)
