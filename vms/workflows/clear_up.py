"""The end of snapshots: their files are merged with what stands on them, or deleted. It goes forward only."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from hosts.connections import driver_for
from hosts.driver import errors
from hosts.driver.types import Merge, MergeFacts
from hosts.errors import translate
from portal.core.errors import Conflict
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, Workflow, register
from portal.tenancy.gate import SYSTEM
from portal.tenancy.roles import Permission
from vms import snapshot_layers
from vms.design import domain_spec
from vms.layers import unneeded
from vms.models import VM, Lifecycle, Power, Snapshot, SnapshotState
from vms.snapshot_layers import ENDED, Joining, Removal, snapshots_of
from vms.workflows import layers
from vms.workflows.common import driver_of, machine
from vms.workflows.snapshot_steps import end_or_hide, measure, settle
from vms.workflows.watch import Watch

QUIET = timedelta(minutes=1)
logger = logging.getLogger(__name__)


def merge_all(context: StepContext) -> Output:
    """One after the other, the rows following each. What cannot be merged as things are stays, out of sight."""
    passed_over: list[str] = list(context.kept.get("passed_over", []))
    while (work := snapshot_layers.next_work(machine(context.operation), passed_over)) is not None:
        try:
            _do(context, work, passed_over)
        except errors.CannotMerge:  # it runs on another branch, from which those below cannot be told otherwise
            passed_over.append(str(work.layer.pk))
    _delete_memory(context)
    vm = machine(context.operation)
    driver_of(context, vm).define(domain_spec(vm, vm.host, context.fence))  # it may be on another file now
    return None


def _do(context: StepContext, work: Removal | Joining, passed_over: list[str]) -> None:
    layer = work.layer
    driver = driver_of(context, machine(context.operation))
    if isinstance(work, Removal):
        driver.delete_volume(layer.pool.name, layer.file_name)
        snapshot_layers.removed(work)
        return
    kept = _merged(context, work, passed_over)
    other = {layer.file_name, work.child.file_name} - {kept}
    driver.delete_volume(layer.pool.name, *other)
    snapshot_layers.joined(work, kept)


def _merged(context: StepContext, work: Joining, passed_over: list[str]) -> str:
    """The file that is left of both. A guest is switched to it only after it was written down that it may be."""
    may_switch = context.kept.get("switching") == str(work.layer.pk)
    watch = Watch(context, work.layer.pk)
    facts = watch.until_complete(
        lambda: _merge(context, work, may_switch),
        is_enough=lambda facts: facts.is_complete or facts.is_ready,
        keep=lambda: {"passed_over": passed_over},
    )
    if facts.kept is None:
        raise watch.again(0, {"passed_over": passed_over, "switching": str(work.layer.pk)})
    return facts.kept


def _merge(context: StepContext, work: Joining, may_switch: bool) -> MergeFacts:
    vm, layer = machine(context.operation), work.layer
    merge = Merge(
        pool=layer.pool.name,
        layer=layer.file_name,
        child=work.child.file_name,
        domain=vm.pk,
        target=work.target,
        heirs=tuple(heir.file_name for heir in work.child.children.all()),
        is_to_run=vm.desired_power == Power.RUNNING,
    )
    return driver_of(context, vm).merge(layer.pk, merge, may_switch=may_switch)


def _delete_memory(context: StepContext) -> None:
    vm = machine(context.operation)
    for snapshot in snapshots_of(vm.pk):
        if snapshot.state in ENDED and snapshot.memory_pool is not None:
            driver_of(context, vm).delete_volume(snapshot.memory_pool.name, snapshot.memory_volume)


def settle_end(operation: Operation, outputs: Mapping[str, Any]) -> None:
    for snapshot in snapshots_of(operation.target_id):
        if snapshot.state in ENDED:
            end_or_hide(snapshot)
    settle(operation, outputs["gib"])


def give_up(operation: Operation) -> None:
    """Part of its data may have been merged, so nobody can be returned to it; it can be deleted once more."""
    rows = Snapshot.objects.unscoped("workflow").filter(vm_id=operation.target_id, state=SnapshotState.DELETING)
    rows.update(state=SnapshotState.BROKEN)


CLEAR_UP = register(
    Workflow(
        kind="vm.delete-snapshot",
        doing="merging snapshots of",
        done="freed of a snapshot",
        permission=Permission.VM_WRITE,
        steps=(
            Step("merge", "Merging its data", merge_all, weight=6),
            Step("measure", "Measuring what stays", measure),
        ),
        succeeded=settle_end,
        unwound=give_up,
        translate=translate,
        deadline=timedelta(hours=24),
        cancellable=False,
    )
)


def clear_up_soon(vm_id: UUID) -> None:
    """Begin to clear up what snapshots have left, if anything can be; where it is busy, the clock asks again."""
    with transaction.atomic():
        vm = VM.objects.unscoped("by the clock").select_for_update().filter(pk=vm_id, lifecycle=Lifecycle.READY).first()
        if vm is None or snapshot_layers.next_work(vm) is None:
            return
        try:
            operations.submit(
                CLEAR_UP,
                actor=SYSTEM,
                target=vm,
                title=f"Tidy up the disks of {vm.name}",
                lane=vm.host_id,
                holds=[layer for layer, _ in snapshot_layers.spare_layers(vm)],
            )
        except Conflict:
            return


def clear_up_all() -> None:
    """What was left where a machine was busy, ran on another branch, or had clones that are gone since.

    Whoever works with a machine is not to find it busy in between, so it is let be until it was quiet for a while.
    """
    since = timezone.now() - QUIET
    lately = Operation.objects.unscoped("by the clock").filter(finished_at__gt=since)
    for vm_id in snapshot_layers.machines_with_spare_layers() - set(lately.values_list("target_id", flat=True)):
        clear_up_soon(vm_id)
    remove_unneeded()


def remove_unneeded() -> None:
    """Files that were no machine's any more, or stood below two disks that went at one moment.

    A host that does not answer, or lets go of one of them not, is asked again the next time.
    """
    passed_over: set[UUID] = set()
    for layer in unneeded():
        host = layer.pool.host
        if host.pk in passed_over:
            continue
        try:
            layers.remove(driver_for(host), layer)
        except errors.DriverError as error:
            logger.warning("layer %s stays on %s: %s", layer.pk, host.name, error)
            passed_over.add(host.pk)
            continue
        layer.delete()
