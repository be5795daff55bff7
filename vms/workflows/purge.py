"""Purge: the end of a machine and its disks. It goes forward only: one half gone is of no use to anybody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from hosts import reach
from hosts.connections import fenced_driver
from hosts.errors import translate
from hosts.models import Host
from portal.operations.models import Operation, OperationStep
from portal.operations.states import ACTIVE, State
from portal.operations.workflow import Output, Step, StepContext, Workflow, register
from portal.tenancy.roles import Permission
from vms.layers import dying_with
from vms.models import VM, Layer, Lifecycle
from vms.snapshot_layers import snapshots_of
from vms.workflows import create
from vms.workflows.common import driver_of, machine

TRY_AGAIN = timedelta(hours=1)


def cut_power(context: StepContext) -> Output:
    """Of a machine whose host has failed nothing runs; what it has there is removed when that is back."""
    if machine(context.operation).host.has_failed:
        return {"was_off": True}
    create.cut_power(context)
    return None


def undefine(context: StepContext) -> Output:
    if machine(context.operation).host.has_failed:
        return None
    _undefine(context)
    return None


def _undefine(context: StepContext) -> None:
    """Whichever steps its host was away in: it may have come back since, and be running it."""
    if context.outputs.get("was_off"):
        create.cut_power(context)
    create.undefine(context)


def delete_volumes(context: StepContext) -> Output:
    """Those of its snapshots too, with what was kept of its memory. Which layers went is kept for `forget`.

    Of what lies on a failed host, others delete what they see as well; the rest is noted for `left_on`.
    """
    vm = machine(context.operation)
    dying = dying_with(vm)
    files, removed = list(_files_of(vm, dying)), [str(layer.pk) for layer in dying]
    if vm.host.has_failed:
        left = [file for file in files if not _is_deleted_elsewhere(context, vm.host, *file)]
        return {"removed_layers": removed, "left_on": str(vm.host_id), "left": left}
    _undefine(context)
    _delete(context, vm, files)
    return {"removed_layers": removed}


def _is_deleted_elsewhere(context: StepContext, host: Host, pool: str, name: str) -> bool:
    """By another host that has the file before its eyes. Nothing runs on the failed one."""
    for other in reach.other_ways(host, pool):
        driver = fenced_driver(other.host, context.check)
        driver.refresh_pool(pool)
        if driver.volume(pool, name) is not None:
            driver.delete_volume(pool, name)
            return True
    return False


def delete_left(context: StepContext) -> Output:
    """A host that was cleared since then is not cleared of it once more."""
    vm = machine(context.operation)
    if "left" in context.outputs and not vm.host.has_failed:
        _undefine(context)
        _delete(context, vm, context.outputs["left"])
    return None


def _delete(context: StepContext, vm: VM, files: Iterable[tuple[str, str]]) -> None:
    driver = driver_of(context, vm)
    for pool, name in files:
        driver.delete_volume(pool, name)


def _files_of(vm: VM, dying: Iterable[Layer]) -> Iterator[tuple[str, str]]:
    """Each with the name of its pool: the seed, the layers that go with it, what was kept of its memory."""
    yield vm.host.pool_name, vm.seed_volume
    for layer in dying:
        yield layer.pool.name, layer.file_name
    for snapshot in snapshots_of(vm.pk):
        if snapshot.memory_pool is not None:
            yield snapshot.memory_pool.name, snapshot.memory_volume


def left_on(host: Host) -> Mapping[UUID, Sequence[tuple[str, str]]]:
    """By machine that is deleted for good the files, by pool and name, that the host kept of it while it had failed.

    Those too of which the rows are about to go: a purge ends in nothing else.
    """
    rows = OperationStep.objects.filter(output__left_on=str(host.pk)).select_related("operation")
    ended = {step.operation.target_id: step.output["left"] for step in rows.filter(operation__state=State.SUCCEEDED)}
    there = set(VM.objects.unscoped("purge").filter(pk__in=ended).values_list("pk", flat=True))
    under_way = rows.filter(operation__state__in=ACTIVE)
    return {
        **{id: files for id, files in ended.items() if id not in there},
        **{step.operation.target_id: step.output["left"] for step in under_way},
    }


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
        steps=(
            Step("power", "Cutting the power", cut_power),
            *REMOVAL,
            Step("left", "Looking whether its host is back", delete_left),
        ),
        succeeded=forget,
        unwound=keep,
        translate=translate,
        deadline=timedelta(days=30),
        cancellable=False,
    )
)
