"""Restoring a backup: to its machine, whose disks are replaced, or to a new machine.

Every file is read and compared first, so a damaged backup changes nothing. The disks that are replaced go last, or are
kept as a snapshot.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db import models, transaction
from django.db.models.functions import Now

from hosts.driver import errors
from hosts.driver.types import DiskSpec, DomainSpec, Inventory, PowerState
from hosts.errors import translate
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, Workflow, register
from portal.quotas import ledger
from portal.tenancy.roles import Permission
from vms.design import domain_spec
from vms.models import VM, BackupDisk, Layer, Power, Snapshot, SnapshotState, Volume
from vms.workflows import create, snapshot_steps
from vms.workflows.backup_files import backup_of, check_files, target_driver
from vms.workflows.common import driver_of, machine, observe_now
from vms.workflows.watch import Watch

logger = logging.getLogger(__name__)
PATIENCE_SECONDS = 20.0  # for a guest that is asked to power off before its disks are replaced


def check(context: StepContext) -> Output:
    backup, vm = backup_of(context.params["backup"]), machine(context.operation)
    check_files(context, target_driver(context, backup.target, vm.host), backup)
    return None


def copy_disks(context: StepContext) -> Output:
    """The host copies by itself; this looks how far it is."""
    for file, layer in _copies(context):
        _copy(context, file, layer)
    return None


def _copy(context: StepContext, file: BackupDisk, layer: Layer) -> None:
    driver, pool = driver_of(context, machine(context.operation)), file.backup.target.pool_name
    Watch(context, layer.pk).until_complete(
        lambda: driver.copy_volume(layer.pk, context.fence, pool, file.file_name, layer.file_name, into=layer.pool.name)
    )
    driver.grow_volume(layer.pool.name, layer.file_name, layer.size_bytes)


def delete_copies(context: StepContext) -> None:
    driver = driver_of(context, machine(context.operation))
    for _, layer in _copies(context):
        driver.end_copy(layer.pk)
        driver.delete_volume(layer.pool.name, layer.file_name)


def _copies(context: StepContext) -> Iterator[tuple[BackupDisk, Layer]]:
    """Each file that is restored, and the layer that it becomes; the service has made these rows."""
    for file_id, layer_id in context.params["layers"].items():
        file = BackupDisk.objects.select_related("backup__target").get(pk=file_id)
        yield file, Layer.objects.select_related("pool").get(pk=layer_id)


# -- to the same machine -----------------------------------------------------------------------------------------


def power_off(context: StepContext) -> Output:
    """Ask first, for disks that stay; what the replaced ones lose by the cut is lost anyway."""
    vm = machine(context.operation)
    driver = driver_of(context, vm)
    with suppress(errors.Timeout):
        driver.shutdown(vm.pk)
        driver.wait_for(vm.pk, [PowerState.STOPPED, PowerState.CRASHED], PATIENCE_SECONDS)
    driver.destroy(vm.pk)
    return None


def power_on(context: StepContext) -> Output:
    vm = machine(context.operation)
    if vm.desired_power != Power.STOPPED:
        driver_of(context, vm).start(vm.pk)
    observe_now(context)
    return None


def power_on_again(context: StepContext) -> None:
    """Nothing was replaced: it runs again from what it had."""
    power_on(context)


def define_restored(context: StepContext) -> Output:
    driver_of(context, machine(context.operation)).define(_restored(context))
    return None


def define_as_before(context: StepContext) -> None:
    vm = machine(context.operation)
    driver = driver_of(context, vm)
    driver.destroy(vm.pk)
    driver.define(domain_spec(vm, vm.host, context.fence))


def _restored(context: StepContext) -> DomainSpec:
    """The machine as the rows will have it when this has succeeded."""
    vm = machine(context.operation)
    spec = domain_spec(vm, vm.host, context.fence)
    by_volume = {file.volume_id: layer for file, layer in _copies(context)}
    new = {volume.target: by_volume.get(volume.pk) for volume in vm.volumes.all()}  # where each is now
    return replace(spec, disks=tuple(_on(disk, new[disk.target]) for disk in spec.disks))


def _on(disk: DiskSpec, layer: Layer | None) -> DiskSpec:
    return replace(disk, pool=layer.pool.name, volume=layer.file_name) if layer else disk


def drop_replaced(context: StepContext) -> Output:
    """From here on there is no way back, so a file that the host does not let go of stays, and the audit shows it.

    So does one that a machine on the host still has as its disk, whatever the rows say.
    """
    vm = machine(context.operation)
    driver = driver_of(context, vm)
    replaced = _unneeded(context.operation)
    in_use = _in_use(driver.inventory(sorted({layer.pool.name for layer in replaced}), vm.host.network_name))
    for layer in replaced:
        if layer.file_name in in_use:
            logger.error("%s stays: a machine on %s still has it as its disk", layer.file_name, vm.host.name)
            continue
        with suppress(errors.NotFound, errors.InvalidState, errors.Invalid):
            driver.delete_volume(layer.pool.name, layer.file_name)
    return {"replaced_layers": [str(layer.pk) for layer in replaced]}


def _in_use(found: Inventory) -> set[str]:
    """The files that a guest has or a definition names, and all that these stand on."""
    lines = {line for domain in found.domains for line in domain.outline | (domain.running_outline or frozenset())}
    backing = {volume.name: volume.backing for pool in found.pools.values() if pool for volume in pool.volumes}
    in_use: set[str] = set()
    for name in backing:
        if any(name in line for line in lines):
            below: str | None = name
            while below is not None and below not in in_use:
                in_use.add(below)
                below = backing.get(below)
    return in_use


def _unneeded(operation: Operation) -> list[Layer]:
    """Which files nothing stands on once the disks are replaced: tried on the rows, and taken back."""
    with transaction.atomic():
        found = _replace(operation)
        transaction.set_rollback(True)
    return found


def _replace(operation: Operation, only: Collection[str] | None = None) -> list[Layer]:
    """Give the volumes their restored layers; the layers that nothing needs any more are gone, of `only` these."""
    removed = []
    for file_id, layer_id in operation.params["layers"].items():
        volume = Volume.objects.unscoped("workflow").get(
            pk=BackupDisk.objects.values_list("volume_id", flat=True).get(pk=file_id)
        )
        old: Layer | None = volume.layer
        if str(volume.layer_id) == layer_id:
            continue
        Volume.objects.unscoped("workflow").filter(pk=volume.pk).update(layer=layer_id)
        while old is not None and (only is None or str(old.pk) in only):
            below, id = old.parent, old.pk
            try:
                with transaction.atomic():
                    old.delete()
            except models.ProtectedError:
                break
            old.pk = id
            removed.append(old)
            old = below
    return removed


def settle(operation: Operation, outputs: Mapping[str, Any]) -> None:
    _replace(operation, outputs.get("replaced_layers"))
    if "before" in operation.params:
        rows = Snapshot.objects.unscoped("workflow").filter(pk=operation.params["before"])
        rows.update(state=SnapshotState.READY, taken_at=Now())
    snapshot_steps.settle(operation, outputs.get("gib", {}))
    VM.objects.unscoped("workflow").filter(pk=operation.target_id).update(current_snapshot=None)
    vm, backup = machine(operation), backup_of(operation.params["backup"])
    actor = operations.actor_of(operation)
    after = {"taken_at": str(backup.taken_at)}
    log.record("vm.restored-from-backup", actor=actor, target=vm, operation_id=operation.pk, after=after)


def forget_layers(operation: Operation) -> None:
    """The machine is as it was."""
    Layer.objects.filter(pk__in=operation.params["layers"].values()).delete()
    if "before" in operation.params:
        snapshot_steps.forget_snapshot(snapshot_steps.snapshot_in(operation, "before"))


RESTORE = register(
    Workflow(
        kind="backup.restore",
        doing="restoring",
        done="restored",
        permission=Permission.VM_WRITE,
        version=2,
        continues=frozenset({1}),
        steps=(
            Step("check", "Checking every file", check, weight=2),
            Step("copy", "Copying the disks back", copy_disks, undo=delete_copies, weight=6),
            Step("stop", "Powering it off", power_off, undo=power_on_again),
            Step("define", "Giving it the restored disks", define_restored, undo=define_as_before),
            Step("start", "Starting it as it was", power_on),
            Step("measure", "Measuring what it was until now", snapshot_steps.measure),
            Step("replaced", "Deleting the replaced disks", drop_replaced, is_final=True),
        ),
        succeeded=settle,
        unwound=forget_layers,
        translate=translate,
        deadline=timedelta(hours=24),
    )
)


# -- to a new machine --------------------------------------------------------------------------------------------


def make_drives(context: StepContext) -> Output:
    """The seed, and for a machine that was installed from a CD that CD."""
    if machine(context.operation).image.is_iso:
        create.bring_image(context)
    return create.make_seed(context)


def forget_new(operation: Operation) -> None:
    """Nothing of it is left on the host, so nothing of it is left here."""
    others = list(Volume.objects.unscoped("workflow").filter(vm_id=operation.target_id, is_boot=False))
    for volume in others:
        ledger.release(volume.pk)
        volume.delete()
        volume.layer.delete()
    create.forget(operation)


RESTORE_AS_NEW = register(
    Workflow(
        kind="backup.restore-as-new",
        doing="restoring",
        done="made from a backup",
        permission=Permission.VM_WRITE,
        steps=(
            Step("check", "Checking every file", check, weight=2),
            Step("copy", "Copying the disks back", copy_disks, undo=delete_copies, weight=6),
            Step("seed", "Writing the first-boot settings", make_drives, undo=create.delete_seed),
            *create.START,
        ),
        succeeded=create.finish,
        unwound=forget_new,
        translate=translate,
        deadline=timedelta(hours=24),
    )
)
