"""Snapshot: from one moment on each disk writes to a layer of its own, and what it wrote before stays as it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models.functions import Now

from hosts.driver import errors
from hosts.driver.base import Driver
from hosts.driver.types import FreshLayer, Merge, PowerState
from hosts.errors import translate
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, Workflow, register
from portal.tenancy.roles import Permission
from vms.design import domain_spec
from vms.models import VM, Consistency, Layer, Power, Snapshot, SnapshotState, Volume
from vms.workflows.common import driver_of, machine
from vms.workflows.snapshot_steps import (
    delete_overlays,
    end_or_hide,
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

# So little was written since that it is merged while one waits.
LOOKS, LOOK_EVERY_SECONDS = 50, 0.1
_OFF = (PowerState.STOPPED, PowerState.CRASHED)


def prepare(context: StepContext) -> Output:
    """The new layers, and the file for the memory: libvirt's storage knows only what it has made."""
    snapshot = snapshot_in(context.operation)
    if snapshot.memory_pool is not None:
        driver = driver_of(context, machine(context.operation))
        driver.upload(snapshot.memory_pool.name, snapshot.memory_volume, b"", "raw")
    return make_overlays(context)


def take_back_files(context: StepContext) -> None:
    delete_overlays(context)
    snapshot = snapshot_in(context.operation)
    if snapshot.memory_pool is not None:
        driver = driver_of(context, machine(context.operation))
        driver.delete_volume(snapshot.memory_pool.name, snapshot.memory_volume)


def freeze(context: StepContext) -> Output:
    """Then its definition names the new layers as well, whether it runs or not.

    The rows follow at once: were the new layers forgotten when the host fails, what was written since would be lost.
    """
    vm, layers = machine(context.operation), fresh_layers(context.operation)
    driver, snapshot = driver_of(context, vm), snapshot_in(context.operation)
    consistency = _freeze(context, driver, vm, snapshot, layers)
    context.check()
    write_to(layers)
    driver.define(spec_on(vm, layers, context.fence))
    return {"consistency": consistency}


def _freeze(
    context: StepContext, driver: Driver, vm: VM, snapshot: Snapshot, layers: Mapping[UUID, Layer]
) -> Consistency:
    """It may have powered off since it was asked for; then all that it had written is there."""
    targets = {volume.pk: volume.target for volume in vm.volumes.all()}
    wanted = [FreshLayer(targets[id], layer.pool.name, layer.file_name) for id, layer in layers.items()]
    memory = snapshot.memory_volume if snapshot.has_memory else None
    report = lambda fraction: context.progress(fraction, "Writing down the memory")  # noqa: E731
    if _is_off(driver, vm):
        return Consistency.OFF
    try:
        is_frozen = driver.freeze(vm.pk, wanted, quiesce=True, memory=memory, progress=report)
    except errors.InvalidState:
        if not _is_off(driver, vm):
            raise
        return Consistency.OFF
    if memory is not None:
        return Consistency.MEMORY
    return Consistency.FROZEN if is_frozen else Consistency.CRASH


def _is_off(driver: Driver, vm: VM) -> bool:
    state = driver.state(vm.pk)
    return state is None or state.power in _OFF


def take_back(context: StepContext) -> None:
    """What was written since goes back into the layer below, which is the disk again."""
    vm = machine(context.operation)
    driver = driver_of(context, vm)
    if snapshot_in(context.operation).has_memory:
        driver.end_freeze(vm.pk)
    targets = {volume.pk: volume.target for volume in vm.volumes.all()}
    layers = fresh_layers(context.operation)
    for volume_id, fresh in layers.items():
        _merge_back(driver, vm, targets[volume_id], fresh)
    context.check()
    write_to({volume_id: fresh.parent for volume_id, fresh in layers.items() if fresh.parent is not None})
    vm = machine(context.operation)
    driver.define(domain_spec(vm, vm.host, context.fence))


def _merge_back(driver: Driver, vm: VM, target: str, fresh: Layer) -> None:
    assert fresh.parent is not None
    below = fresh.parent.file_name
    is_to_run = vm.desired_power == Power.RUNNING
    merge = Merge(fresh.pool.name, below, fresh.file_name, vm.pk, target, (), is_to_run, below)
    for _ in range(LOOKS):
        if driver.merge(fresh.pk, merge, may_switch=True).kept is not None:
            return
        time.sleep(LOOK_EVERY_SECONDS)
    raise errors.Busy("what was written since is merged back")


def keep(operation: Operation, outputs: Mapping[str, Any]) -> None:
    snapshot = snapshot_in(operation)
    rows = Snapshot.objects.unscoped("workflow").filter(pk=snapshot.pk)
    consistency = outputs["consistency"]
    rows.update(state=SnapshotState.READY, consistency=consistency, taken_at=Now())
    if consistency != Consistency.MEMORY:
        rows.update(memory_pool=None)
    VM.objects.unscoped("workflow").filter(pk=operation.target_id).update(current_snapshot=snapshot)
    settle(operation, outputs["gib"])


def forget(operation: Operation) -> None:
    """Where its host has failed meanwhile the machine writes to the new layers, and what is below is merged later."""
    snapshot = snapshot_in(operation)
    if Volume.objects.unscoped("workflow").filter(layer__in=fresh_layers(operation).values()).exists():
        end_or_hide(snapshot)
        return
    forget_fresh(operation)
    forget_snapshot(snapshot)


SNAPSHOT = register(
    Workflow(
        kind="vm.snapshot",
        doing="taking a snapshot of",
        done="kept as a snapshot",
        permission=Permission.VM_WRITE,
        steps=(
            Step("prepare", "Preparing new layers", prepare, undo=take_back_files),
            Step("freeze", "Freezing the disks", freeze, undo=take_back, weight=3),
            Step("measure", "Measuring it", measure),
        ),
        succeeded=keep,
        unwound=forget,
        translate=translate,
        deadline=timedelta(hours=2),
    )
)
