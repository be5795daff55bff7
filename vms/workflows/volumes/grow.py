"""Grow: under a guest that runs, or in the pool. It cannot be taken back, and is one step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hosts.driver import errors
from hosts.errors import translate
from portal.core.units import GIB
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, Workflow, register
from portal.quotas import ledger
from portal.tenancy.roles import Permission
from vms.models import VM, Layer
from vms.workflows.volumes.common import disk_of, driver_of, rows_of, volume_of


def grow(context: StepContext) -> Output:
    """Whether its machine runs is told by the attempt: it may be switched on or off at any time."""
    volume = volume_of(context.operation)
    driver, wanted = driver_of(context, volume), context.params["after"] * GIB
    try:
        if volume.vm is not None:
            driver.grow_disk(volume.vm.pk, disk_of(volume), wanted)
            return None
    except errors.InvalidState:  # it is off
        pass
    driver.grow_volume(volume.layer.pool.name, volume.layer.file_name, wanted)
    return None


def take(operation: Operation, outputs: Mapping[str, Any]) -> None:
    volume, size_gib = volume_of(operation), operation.params["after"]
    rows_of(volume.pk).update(size_gib=size_gib)
    Layer.objects.filter(pk=volume.layer_id).update(size_gib=size_gib)
    if volume.is_boot and volume.vm is not None:
        VM.objects.unscoped("workflow").filter(pk=volume.vm.pk).update(disk_gib=size_gib)
    actor = operations.actor_of(operation)
    before, after = {"disk_gib": operation.params["before"]}, {"disk_gib": size_gib}
    log.record("volume.grown", actor=actor, target=volume, operation_id=operation.pk, before=before, after=after)


def give_back(operation: Operation) -> None:
    """Down to the size that it is promised to have; a file that has grown all the same is let be."""
    volume = volume_of(operation)
    if volume.is_boot and volume.vm is not None:
        ledger.hold(volume.tenant_id, volume.vm.pk, {"vms": 1, **volume.vm.wanted}, {})
        ledger.hold(volume.vm.host_id, volume.vm.pk, volume.vm.wanted, {})
    else:
        ledger.hold(volume.tenant_id, volume.pk, volume.wanted, {})
        ledger.hold(volume.layer.pool.host_id, volume.pk, volume.wanted, {})


GROW = register(
    Workflow(
        kind="volume.grow",
        doing="growing",
        done="grown",
        permission=Permission.VM_WRITE,
        steps=(Step("grow", "Growing the disk", grow),),
        succeeded=take,
        unwound=give_back,
        translate=translate,
    )
)
