"""What the operations on snapshots share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

from hosts.driver.base import Driver
from hosts.driver.types import DomainSpec
from portal.core.units import GIB
from portal.operations.models import Operation
from portal.operations.workflow import Output, StepContext
from portal.quotas import ledger
from vms.design import domain_spec
from vms.models import VM, Layer, Snapshot, SnapshotState, Volume
from vms.snapshot_layers import snapshots_of
from vms.workflows.common import driver_of, machine


def snapshot_in(operation: Operation, key: str = "snapshot") -> Snapshot:
    return Snapshot.objects.unscoped("workflow").get(pk=operation.params[key])


def fresh_layers(operation: Operation) -> dict[UUID, Layer]:
    """The layers that were made for this operation, by volume."""
    by_volume: Mapping[str, str] = operation.params["fresh"]
    layers = Layer.objects.select_related("pool", "parent").in_bulk([UUID(id) for id in by_volume.values()])
    return {UUID(volume): layers[UUID(layer)] for volume, layer in by_volume.items()}


def make_overlays(context: StepContext) -> Output:
    driver = driver_of(context, machine(context.operation))
    for layer in fresh_layers(context.operation).values():
        assert layer.parent is not None
        driver.ensure_overlay(layer.pool.name, layer.file_name, layer.parent.file_name, layer.size_bytes)
    return None


def delete_overlays(context: StepContext) -> None:
    """Whatever stood on them is taken back by the undo of later steps."""
    driver = driver_of(context, machine(context.operation))
    for layer in fresh_layers(context.operation).values():
        driver.delete_volume(layer.pool.name, layer.file_name)


def spec_on(vm: VM, layers: Mapping[UUID, Layer], attempt: int) -> DomainSpec:
    """The machine with these layers as what its volumes write to."""
    spec = domain_spec(vm, vm.host, attempt)
    by_target = {volume.target: layers[volume.pk] for volume in vm.volumes.all() if volume.pk in layers}
    disks = [
        replace(disk, volume=by_target[disk.target].file_name) if disk.target in by_target else disk
        for disk in spec.disks
    ]
    return replace(spec, disks=tuple(disks))


def measure(context: StepContext) -> Output:
    """What the data of each snapshot of the machine takes, in GiB. Only what nobody writes to any more is measured."""
    vm = machine(context.operation)
    driver = driver_of(context, vm)
    return {"gib": {str(each.pk): _gib(driver, each) for each in snapshots_of(vm.pk)}}


def _gib(driver: Driver, snapshot: Snapshot) -> int:
    files = [(disk.layer.pool.name, disk.layer.file_name) for disk in snapshot.disks.select_related("layer__pool")]
    if snapshot.memory_pool is not None:
        files.append((snapshot.memory_pool.name, snapshot.memory_volume))
    found = [driver.volume(pool, name) for pool, name in files]
    return max(1, -(-sum(volume.allocation_bytes for volume in found if volume) // GIB))


def settle(operation: Operation, gib: Mapping[str, int]) -> None:
    """Each snapshot of the machine holds what was measured: together no more than was held before."""
    vm = machine(operation)
    for snapshot in snapshots_of(vm.pk):
        if measured := gib.get(str(snapshot.pk)):
            snapshot.size_gib = measured
            snapshot.save(update_fields=["size_gib"])
            hold(vm, snapshot)


def hold(vm: VM, snapshot: Snapshot) -> None:
    """As much as it is, asking no limit: it is there."""
    ledger.hold(vm.tenant_id, snapshot.pk, {"snapshots": 0, **snapshot.wanted}, {})
    ledger.hold(vm.host_id, snapshot.pk, {"disk_gib": snapshot.size_gib}, {})


def write_to(layers: Mapping[UUID, Layer]) -> None:
    """From now on the volumes are these layers."""
    for volume_id, layer in layers.items():
        Volume.objects.unscoped("workflow").filter(pk=volume_id).update(layer=layer)


def forget_fresh(operation: Operation) -> None:
    for layer in fresh_layers(operation).values():
        layer.delete()


def forget_snapshot(snapshot: Snapshot) -> None:
    """Its rows and what it holds; what was taken after it stands on what it stood on."""
    ledger.release(snapshot.pk)
    Snapshot.objects.unscoped("workflow").filter(parent=snapshot).update(parent=snapshot.parent)
    VM.objects.unscoped("workflow").filter(current_snapshot=snapshot).update(current_snapshot=snapshot.parent)
    snapshot.delete()


def end_or_hide(snapshot: Snapshot) -> None:
    """One of whose data something is still needed stays out of sight, and holds it."""
    if not snapshot.disks.exists():
        forget_snapshot(snapshot)
        return
    Snapshot.objects.unscoped("workflow").filter(parent=snapshot).update(parent=snapshot.parent)
    VM.objects.unscoped("workflow").filter(current_snapshot=snapshot).update(current_snapshot=snapshot.parent)
    snapshot.state, snapshot.parent, snapshot.memory_pool = SnapshotState.GONE, None, None
    snapshot.save(update_fields=["state", "parent", "memory_pool"])
