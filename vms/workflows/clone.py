"""Clone: a create whose disks stand on those of another machine, or are copies of them.

A source that is off and copied in full is read as it is. Else its disks are frozen first (vms.workflows.layers): it
goes on with layers of its own on top, and what lies below serves both. Once nothing else stands on that, the clock
merges it when the machine was quiet for a while (vms.workflows.clear_up).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from hosts.driver.types import CopyFacts
from hosts.errors import translate
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, StepFailed, Workflow, register
from portal.quotas import ledger
from portal.tenancy.roles import Permission
from vms.models import VM, Layer, Volume
from vms.workflows import create, layers
from vms.workflows.common import driver_of, machine
from vms.workflows.watch import Watch, together

FULL, LINKED = "full", "linked"


def freeze_source(context: StepContext) -> Output:
    """No effect where the source is read as it is."""
    if tops := _tops(context):
        layers.freeze(context, _source(context.operation), tops)
    return None


def unfreeze_source(context: StepContext) -> None:
    """Not once the source was let go: others may work on it, and it has its layers for good."""
    if context.operation.holds.filter(is_active=True).exists():
        layers.unfreeze(context, _source(context.operation), _tops(context))


def make_disks(context: StepContext) -> Output:
    """Linked, they are there at once. Copies are made by the host, and this looks how far they are."""
    if context.params["mode"] == LINKED:
        _link(context)
    else:
        Watch(context).until_complete(lambda: _look(context))
    return None


def _link(context: StepContext) -> None:
    vm = machine(context.operation)
    for volume in _volumes(vm):
        layer = volume.layer
        assert layer.parent is not None
        driver_of(context, vm).ensure_overlay(
            layer.pool.name, layer.file_name, layer.parent.file_name, layer.size_bytes
        )


def _look(context: StepContext) -> CopyFacts:
    """All at once: each is begun at the first look."""
    vm = machine(context.operation)
    driver, sources = driver_of(context, vm), Layer.objects.in_bulk(_frozen(context).values())
    copies = []
    for volume in _volumes(vm):
        layer, source = volume.layer, sources[_frozen(context)[volume.target]]
        copies.append(driver.copy_volume(layer.pk, context.fence, layer.pool.name, source.file_name, layer.file_name))
    return together(copies)


def delete_disks(context: StepContext) -> None:
    vm = machine(context.operation)
    driver = driver_of(context, vm)
    for volume in _volumes(vm):
        driver.end_copy(volume.layer_id)
        driver.delete_volume(volume.layer.pool.name, volume.layer.file_name)


def finish(operation: Operation, outputs: Mapping[str, Any]) -> None:
    create.finish(operation, outputs)
    _tell_source(operation, "vm.cloned")


def forget(operation: Operation) -> None:
    """With its disks, all of which are new; what its source stands on by now is the source's."""
    is_cancelled = (operation.error or {}).get("code") == "cancelled"
    _tell_source(operation, "vm.clone-cancelled" if is_cancelled else "vm.clone-failed")
    for volume in Volume.objects.unscoped("workflow").filter(vm_id=operation.target_id, is_boot=False):
        ledger.release(volume.pk)
        volume.delete()
        volume.layer.delete()
    create.forget_machine(operation.target_id)


def _tell_source(operation: Operation, kind: str) -> None:
    """How it ended, in the log of the machine that was cloned, where that is there by now."""
    source = VM.objects.unscoped("workflow").filter(pk=operation.params["source"]).first()
    if source is not None:
        actor = operations.actor_of(operation)
        told = {"as": operation.target_name, "mode": operation.params.get("mode", FULL)}
        log.record(kind, actor=actor, target=source, operation_id=operation.pk, after=told)


def _source(operation: Operation) -> VM:
    """It is held, so it is there; unless it was let go, and an administrator wants all of this once more."""
    rows = VM.objects.unscoped("workflow").select_related("host__cluster", "image", "tenant")
    found = rows.filter(pk=operation.params["source"]).first()
    if found is None:
        raise StepFailed("source_gone", "The machine that was to be cloned is gone.")
    return found


def _volumes(vm: VM) -> list[Volume]:
    return list(vm.volumes.select_related("layer__pool", "layer__parent"))


def _tops(context: StepContext) -> list[Layer]:
    rows = Layer.objects.select_related("pool", "parent")
    return list(rows.filter(pk__in=context.params["tops"]))


def _frozen(context: StepContext) -> dict[str, UUID]:
    """The layer that each disk of the clone is a copy of, by its target."""
    return {target: UUID(id) for target, id in context.params["from"].items()}


CLONE = register(
    Workflow(
        kind="vm.clone",
        doing="cloning",
        done="made as a clone",
        version=2,
        permission=Permission.VM_WRITE,
        steps=(
            Step("freeze", "Freezing the source's disks", freeze_source, undo=unfreeze_source),
            Step("copy", "Making the disks", make_disks, undo=delete_disks, weight=6, lets_go=True),
            *create.BUILD,
        ),
        succeeded=finish,
        unwound=forget,
        translate=translate,
        deadline=timedelta(hours=12),
    )
)
