"""Delete goes forward only: a machine half deleted is of no use to anybody."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hosts.errors import translate
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, Workflow, register
from portal.tenancy.roles import Permission
from vms.layers import dying_with
from vms.models import VM, Lifecycle
from vms.snapshot_layers import snapshots_of
from vms.workflows import create
from vms.workflows.common import driver_of, machine


def cut_power(context: StepContext) -> Output:
    create.cut_power(context)
    return None


def undefine(context: StepContext) -> Output:
    create.undefine(context)
    return None


def delete_volumes(context: StepContext) -> Output:
    """Those of its snapshots too, with what was kept of its memory."""
    create.delete_seed(context)
    vm = machine(context.operation)
    driver = driver_of(context, vm)
    for layer in dying_with(vm):
        driver.delete_volume(layer.pool.name, layer.file_name)
    for snapshot in snapshots_of(vm.pk):
        if snapshot.memory_pool is not None:
            driver.delete_volume(snapshot.memory_pool.name, snapshot.memory_volume)
    return None


def forget(operation: Operation, outputs: Mapping[str, Any]) -> None:
    create.forget(operation)


def keep(operation: Operation) -> None:
    """It could not be deleted: say so, and let its owner try again."""
    words = str((operation.error or {}).get("detail", ""))[:300]
    rows = VM.objects.unscoped("workflow").filter(pk=operation.target_id)
    rows.update(lifecycle=Lifecycle.ERROR, error=f"It could not be deleted: {words}"[:300])


DELETE = register(
    Workflow(
        kind="vm.delete",
        doing="deleting",
        done="deleted",
        version=2,
        continues=frozenset({1}),
        permission=Permission.VM_WRITE,
        steps=(
            Step("power", "Cutting the power", cut_power),
            Step("undefine", "Removing the definition", undefine),
            Step("volumes", "Deleting the disks", delete_volumes),
        ),
        succeeded=forget,
        unwound=keep,
        translate=translate,
        deadline=timedelta(days=30),
        cancellable=False,
    )
)
