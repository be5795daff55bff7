"""Create and delete. A new volume is empty, and attached at once where a machine was named."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hosts.errors import translate
from hosts.models.placement import forget_placements
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, Workflow, register
from portal.quotas import ledger
from portal.tenancy.roles import Permission
from vms.workflows import layers
from vms.workflows.volumes import attach
from vms.workflows.volumes.common import driver_of, rows_of, volume_of


def make(context: StepContext) -> Output:
    volume = volume_of(context.operation)
    layer = volume.layer
    driver_of(context, volume).ensure_volume(layer.pool.name, layer.file_name, layer.size_bytes)
    return None


def delete(context: StepContext) -> None:
    volume = volume_of(context.operation)
    layers.remove(driver_of(context, volume), volume.layer)


def delete_for_good(context: StepContext) -> Output:
    delete(context)
    return None


def forget(operation: Operation) -> None:
    """Nothing of it is left on the host, so nothing of it is left here; the operation keeps the story."""
    volume = volume_of(operation)
    ledger.release(volume.pk)
    forget_placements(volume.pk)
    rows_of(volume.pk).delete()
    volume.layer.delete()


def made(operation: Operation, outputs: Mapping[str, Any]) -> None:
    rows_of(operation.target_id).update(is_ready=True)


def deleted(operation: Operation, outputs: Mapping[str, Any]) -> None:
    forget(operation)


def keep(operation: Operation) -> None:
    """It could not be deleted, and can be asked for again."""
    rows_of(operation.target_id).update(is_ready=True)


CREATE = register(
    Workflow(
        kind="volume.create",
        doing="creating",
        done="created",
        permission=Permission.VM_WRITE,
        steps=(
            Step("make", "Making it", make, undo=delete),
            Step("define", "Writing it into the machine's definition", attach.define_with, undo=attach.define_without),
            Step("attach", "Giving it to the guest", attach.plug_in, undo=attach.plug_out),
        ),
        succeeded=made,
        unwound=forget,
        translate=translate,
    )
)
DELETE = register(
    Workflow(
        kind="volume.delete",
        doing="deleting",
        done="deleted",
        permission=Permission.VM_WRITE,
        steps=(Step("delete", "Deleting its file", delete_for_good),),
        succeeded=deleted,
        unwound=keep,
        translate=translate,
        deadline=timedelta(days=30),
        cancellable=False,
    )
)
