"""What steps on volumes share."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from hosts.connections import fenced_driver
from hosts.driver.base import Driver
from hosts.driver.types import DiskSpec, DomainSpec
from portal.operations.models import Operation
from portal.operations.workflow import StepContext
from vms.design import disk_spec, domain_spec
from vms.models import VM, Layer, Volume


def volume_of(operation: Operation) -> Volume:
    """The operation's volume, as it is now; its row outlives the operation."""
    rows = Volume.objects.unscoped("workflow")
    return rows.select_related("layer__pool__host", "layer__pool__storage_class", "vm__host").get(
        pk=operation.target_id
    )


def driver_of(context: StepContext, volume: Volume) -> Driver:
    """Of the host where it lies; it refuses to be used by a worker that no longer holds the operation."""
    return fenced_driver(volume.layer.pool.host, context.check)


def disk_of(volume: Volume) -> DiskSpec:
    return disk_spec(volume, volume.layer)


def domain_with(context: StepContext, vm: VM, volume: Volume, layer: Layer) -> DomainSpec:
    """The domain of its machine, with the volume on that file."""
    spec, disk = domain_spec(vm, vm.host, context.fence), disk_spec(volume, layer)
    return replace(spec, disks=tuple(disk if other.target == disk.target else other for other in spec.disks))


def domain_without(context: StepContext, vm: VM, volume: Volume) -> DomainSpec:
    spec = domain_spec(vm, vm.host, context.fence)
    return replace(spec, disks=tuple(disk for disk in spec.disks if disk.target != volume.target))


def rows_of(volume_id: UUID):  # type: ignore[no-untyped-def]
    return Volume.objects.unscoped("workflow").filter(pk=volume_id)
