"""The end of snapshots: their files are merged with what stands on them, or deleted.

What was merged stays merged. Where it is cancelled or fails, what is under way is stopped, and the rest merged later: a
snapshot whose data was touched is broken until it is deleted once more; what nobody lists any more, the clock takes.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from hosts.connections import driver_for
from hosts.driver import errors
from hosts.driver.base import Driver
from hosts.driver.types import Merge, MergeFacts
from hosts.errors import translate
from portal.core.errors import Conflict
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.states import State, StepState
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
from vms.workflows.snapshot_steps import end_or_hide, forget_snapshot, measure, settle
from vms.workflows.watch import Watch

QUIET, QUIET_AFTER_CANCEL = timedelta(minutes=1), timedelta(hours=1)
logger = logging.getLogger(__name__)


def merge_all(context: StepContext) -> Output:
    """One after the other, the rows following each. What cannot be merged as things are stays, out of sight."""
    passed_over: list[str] = list(context.kept.get("passed_over", []))
    while (work := _next_work(context, passed_over)) is not None:
        try:
            _do(context, work, passed_over)
        except errors.CannotMerge:  # it runs on another branch, from which those below cannot be told otherwise
            passed_over.append(str(work.layer.pk))
    _delete_memory(context)
    vm = machine(context.operation)
    driver_of(context, vm).define(domain_spec(vm, vm.host, context.fence))  # it may be on another file now
    return measure(context)


def _next_work(context: StepContext, passed_over: list[str]) -> Removal | Joining | None:
    """None is begun once it was cancelled: for what comes then, rows may be there of files that are not yet."""
    context.stop_if_asked()
    return snapshot_layers.next_work(machine(context.operation), _states(context.operation), passed_over)


def _states(operation: Operation) -> Collection[str]:
    """Of snapshots that are to go. One that somebody deletes meanwhile is left to that operation."""
    return ENDED if operation.kind == DELETE_SNAPSHOT.kind else [SnapshotState.GONE]


def _do(context: StepContext, work: Removal | Joining, passed_over: list[str]) -> None:
    layer = work.layer
    driver = driver_of(context, machine(context.operation))
    if isinstance(work, Removal):
        driver.delete_volume(layer.pool.name, layer.file_name)
        snapshot_layers.removed(work)
        return
    _follow(driver, work, _merged(context, work, passed_over))


def _follow(driver: Driver, work: Joining, kept: str) -> None:
    """The file that is not `kept` goes, then the rows say so."""
    other = {work.layer.file_name, work.child.file_name} - {kept}
    driver.delete_volume(work.layer.pool.name, *other)
    snapshot_layers.joined(work, kept)


def _merged(context: StepContext, work: Joining, passed_over: list[str]) -> str:
    """The file that is left of both. A guest is switched to it only after it was written down that it may be."""
    may_switch = _may_switch(context, work)
    watch = Watch(context, work.layer.pk)
    facts = watch.until_complete(
        lambda: _merge(context, work, may_switch),
        is_enough=lambda facts: facts.is_complete or facts.is_ready,
        keep=lambda: {"passed_over": passed_over},
    )
    if facts.kept is None:
        raise watch.again(0, {"passed_over": passed_over, "switching": str(work.layer.pk)})
    return facts.kept


def _may_switch(context: StepContext, work: Joining) -> bool:
    return bool(context.kept.get("switching") == str(work.layer.pk))


def _merge(context: StepContext, work: Joining, may_switch: bool) -> MergeFacts:
    vm = machine(context.operation)
    return driver_of(context, vm).merge(work.layer.pk, _asked(vm, work), may_switch=may_switch)


def _asked(vm: VM, work: Joining) -> Merge:
    layer = work.layer
    return Merge(
        pool=layer.pool.name,
        layer=layer.file_name,
        child=work.child.file_name,
        domain=vm.pk,
        target=work.target,
        heirs=tuple(heir.file_name for heir in work.child.children.all()),
        is_to_run=vm.desired_power != Power.PAUSED,
    )


def stop_merging(context: StepContext) -> None:
    """The host may have come further than the rows: they follow it, by which others may stand on one another."""
    vm = machine(context.operation)
    driver, seen = driver_of(context, vm), set[UUID]()
    states = _states(context.operation)
    while work := next((each for each in snapshot_layers.joinings(vm, states) if each.layer.pk not in seen), None):
        seen.add(work.layer.pk)
        kept = driver.end_merge(work.layer.pk, _asked(vm, work), may_switch=_may_switch(context, work))
        if kept is not None:
            _follow(driver, work, kept)
    driver.define(domain_spec(machine(context.operation), vm.host, context.fence))


def _delete_memory(context: StepContext) -> None:
    vm = machine(context.operation)
    for snapshot in snapshots_of(vm.pk):
        if snapshot.state in _states(context.operation) and snapshot.memory_pool is not None:
            driver_of(context, vm).delete_volume(snapshot.memory_pool.name, snapshot.memory_volume)


def settle_end(operation: Operation, outputs: Mapping[str, Any]) -> None:
    for snapshot in snapshots_of(operation.target_id):
        if snapshot.state in _states(operation):
            end_or_hide(snapshot)
    settle(operation, outputs["gib"])


def give_up(operation: Operation) -> None:
    """Part of its data may have been merged, so nobody can be returned to it; it can be deleted once more."""
    is_touched = operation.steps.exclude(state=StepState.WAITING).exists()
    state = SnapshotState.BROKEN if is_touched else operation.params.get("was", SnapshotState.BROKEN)
    for snapshot in snapshots_of(operation.target_id):
        if snapshot.state == SnapshotState.DELETING:
            Snapshot.objects.unscoped("workflow").filter(pk=snapshot.pk).update(state=state)


def end_merged(operation: Operation) -> None:
    """What is left is out of sight already, and the clock comes again; of what was merged nothing is held any more."""
    for snapshot in snapshots_of(operation.target_id):
        if snapshot.state == SnapshotState.GONE and not snapshot.disks.exists():
            forget_snapshot(snapshot)


# One step: once all is merged, no cancel comes in between.
STEPS = (Step("merge", "Merging what nobody needs by itself", merge_all, undo=stop_merging),)

DELETE_SNAPSHOT = register(
    Workflow(
        kind="vm.delete-snapshot",
        doing="merging snapshots of",
        done="freed of a snapshot",
        permission=Permission.VM_WRITE,
        version=2,
        continues=frozenset({1}),
        steps=STEPS,
        former=(Step("measure", "Measuring what stays", measure),),
        succeeded=settle_end,
        unwound=give_up,
        translate=translate,
        deadline=timedelta(hours=24),
    )
)

# What the clock does: of snapshots that are gone, and of what was frozen for something that is over.
CLEAR_UP = register(
    Workflow(
        kind="vm.clear-up",
        doing="tidying up the disks of",
        done="freed of spare layers",
        permission=Permission.VM_WRITE,
        steps=STEPS,
        succeeded=settle_end,
        unwound=end_merged,
        translate=translate,
        deadline=timedelta(hours=24),
        gives_way=True,
    )
)


def clear_up_soon(vm_id: UUID) -> None:
    """Begin to clear up what snapshots have left, if anything can be; where it is busy, the clock asks again."""
    with transaction.atomic():
        vm = VM.objects.unscoped("by the clock").select_for_update().filter(pk=vm_id, lifecycle=Lifecycle.READY).first()
        if vm is None or snapshot_layers.next_work(vm, [SnapshotState.GONE]) is None:
            return
        try:
            operations.submit(
                CLEAR_UP,
                actor=SYSTEM,
                target=vm,
                title=f"Tidy up the disks of {vm.name}",
                lane=vm.host_id,
                holds=[layer for layer, _ in snapshot_layers.spare_layers(vm, [SnapshotState.GONE])],
            )
        except Conflict:
            return


def clear_up_all() -> None:
    """What was left where a machine was busy, ran on another branch, or had clones that are gone since.

    It gives way to whoever works with a machine, so it is let be until that was quiet for a while, and for longer where
    somebody has cancelled this.
    """
    now = timezone.now()
    is_cancelled = Q(kind=CLEAR_UP.kind, state=State.CANCELLED, gives_way=False)
    is_cancelled &= Q(finished_at__gt=now - QUIET_AFTER_CANCEL)
    rows = Operation.objects.unscoped("by the clock")
    lately = rows.filter(Q(finished_at__gt=now - QUIET) | is_cancelled)
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
