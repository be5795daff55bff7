"""Revert: the disks begin anew on the layers of a snapshot. What they were until then goes, or is kept as another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from hosts.errors import translate
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, StepFailed, Workflow, register
from portal.tenancy.roles import Permission
from vms.design import domain_spec
from vms.models import VM, Snapshot, SnapshotState
from vms.workflows import create
from vms.workflows.clear_up import clear_up_soon
from vms.workflows.common import driver_of, machine, observe_now
from vms.workflows.snapshot_steps import (
    delete_overlays,
    forget_fresh,
    forget_snapshot,
    fresh_layers,
    make_overlays,
    measure,
    settle,
    snapshot_in,
    spec_on,
    write_to,
)


def prepare(context: StepContext) -> Output:
    """What it is to go on from is looked for first: once its power is cut, what runs now is lost."""
    snapshot = snapshot_in(context.operation)
    if context.params["with_memory"] and snapshot.memory_pool is not None:
        driver = driver_of(context, machine(context.operation))
        if driver.volume(snapshot.memory_pool.name, snapshot.memory_volume) is None:
            raise StepFailed(
                "memory_missing", "The memory of the snapshot is missing on the host. Nothing was changed."
            )
    return make_overlays(context)


def cut_power(context: StepContext) -> Output:
    create.cut_power(context)
    observe_now(context)
    return None


def run_again(context: StepContext) -> None:
    """By then it is defined as it was."""
    if context.params["was_on"]:
        create.start(context)
    observe_now(context)


def switch(context: StepContext) -> Output:
    vm = machine(context.operation)
    driver_of(context, vm).define(spec_on(vm, fresh_layers(context.operation), context.fence))
    return None


def switch_back(context: StepContext) -> None:
    vm = machine(context.operation)
    driver_of(context, vm).define(domain_spec(vm, vm.host, context.fence))


def start(context: StepContext) -> Output:
    """From its memory, by itself, or not at all."""
    vm, snapshot = machine(context.operation), snapshot_in(context.operation)
    driver = driver_of(context, vm)
    if context.params["with_memory"] and snapshot.memory_pool is not None:
        driver.restore(vm.pk, snapshot.memory_pool.name, snapshot.memory_volume)
    elif context.params["was_on"]:
        driver.start(vm.pk)
    observe_now(context)
    return None


def cut_power_again(context: StepContext) -> None:
    create.cut_power(context)


def keep(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """What was, is a snapshot now: one to return to, or one whose files are cleared up at once."""
    snapshot, before = snapshot_in(operation), snapshot_in(operation, "before")
    vm = machine(operation)
    write_to(fresh_layers(operation))
    is_kept = operation.params["safety"]
    before.state = SnapshotState.READY if is_kept else SnapshotState.GONE
    before.save(update_fields=["state"])
    Snapshot.objects.unscoped("workflow").filter(pk=before.pk).update(taken_at=Now())
    rows = VM.objects.unscoped("workflow").filter(pk=vm.pk)
    rows.update(current_snapshot=snapshot, desired_power=operation.params["after"])
    settle(operation, outputs["gib"])
    if not is_kept:
        transaction.on_commit(lambda: clear_up_soon(vm.pk))


def forget(operation: Operation) -> None:
    forget_fresh(operation)
    forget_snapshot(snapshot_in(operation, "before"))


REVERT = register(
    Workflow(
        kind="vm.revert",
        doing="reverting",
        done="returned to a snapshot",
        permission=Permission.VM_WRITE,
        steps=(
            Step("prepare", "Preparing new layers", prepare, undo=delete_overlays),
            Step("power", "Cutting the power", cut_power, undo=run_again),
            Step("switch", "Switching the disks", switch, undo=switch_back),
            Step("start", "Starting it again", start, undo=cut_power_again, weight=3),
            Step("measure", "Measuring what it was until now", measure),
        ),
        succeeded=keep,
        unwound=forget,
        translate=translate,
    )
)
