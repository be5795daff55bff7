"""Purge: the end of a machine and its disks. It goes forward only: one half gone is of no use to anybody."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.utils import timezone

from hosts.errors import translate
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, Workflow, register
from portal.tenancy.roles import Permission
from vms.layers import dying_with
from vms.models import VM, Lifecycle
from vms.snapshot_layers import snapshots_of
from vms.workflows import create
from vms.workflows.common import driver_of, machine

TRY_AGAIN = timedelta(hours=1)


def cut_power(context: StepContext) -> Output:
    create.cut_power(context)
    return None


def undefine(context: StepContext) -> Output:
    create.undefine(context)
    return None


def delete_volumes(context: StepContext) -> Output:
    """Those of its snapshots too, with what was kept of its memory. Which layers went is kept for `forget`."""
    create.delete_seed(context)
    vm = machine(context.operation)
    driver = driver_of(context, vm)
    dying = dying_with(vm)
    for layer in dying:
        driver.delete_volume(layer.pool.name, layer.file_name)
    for snapshot in snapshots_of(vm.pk):
        if snapshot.memory_pool is not None:
            driver.delete_volume(snapshot.memory_pool.name, snapshot.memory_volume)
    return {"removed_layers": [str(layer.pk) for layer in dying]}


def forget(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """Nothing of it is left on the host, so nothing of it is left here.

    Exactly the layers that were deleted: by now nothing may need another one, the file of which is there. Journals from
    before that was written down leave all of them to the clock.
    """
    create.forget_machine(operation.target_id, outputs.get("removed_layers", ()))


def keep(operation: Operation) -> None:
    """It could not be deleted: say so, and let its owner try again; in the bin it is tried again by itself."""
    words = f"It could not be deleted: {(operation.error or {}).get('detail', '')}"
    rows = VM.objects.unscoped("workflow").filter(pk=operation.target_id)
    rows.update(lifecycle=Lifecycle.ERROR, error=words[:300])
    rows.exclude(binned_at=None).update(purge_at=timezone.now() + TRY_AGAIN)


REMOVAL = (
    Step("undefine", "Removing the definition", undefine),
    Step("volumes", "Deleting the disks", delete_volumes),
)
PURGE = register(
    Workflow(
        kind="vm.purge",
        doing="purging",
        done="deleted for good",
        permission=Permission.VM_WRITE,
        steps=(Step("power", "Cutting the power", cut_power), *REMOVAL),
        succeeded=forget,
        unwound=keep,
        translate=translate,
        deadline=timedelta(days=30),
        cancellable=False,
    )
)
