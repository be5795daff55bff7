"""Backup: the host copies the disks as of one instant to the target; what was written is read back and summed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from hosts.driver import errors
from hosts.driver.types import BackupDiskSpec, BackupFacts, BackupSpec, PowerState
from hosts.errors import translate
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, StepFailed, Workflow, register
from portal.quotas import ledger
from portal.tenancy.roles import Permission
from vms.models import VM, Backup, BackupDisk, BackupKind, BackupState
from vms.workflows.backup_files import backup_of, measure, target_driver
from vms.workflows.common import driver_of, machine, observe_now
from vms.workflows.watch import Watch

ROOM_BYTES = 64 << 20  # with less the target is as good as full


def prepare(context: StepContext) -> Output:
    """Look whether the host reaches the target, and whether the machine is off."""
    vm, backup = machine(context.operation), _backup(context)
    driver = target_driver(context, backup.target, vm.host)
    pool = next(pool for pool in driver.facts().pools if pool.name == backup.target.pool_name)
    if pool.available_bytes < ROOM_BYTES:
        raise StepFailed("target_full", "The backup target is full. Earlier backups are as they were.")
    state = driver.state(vm.pk)
    if state is None:
        raise errors.NotFound(f"no domain {vm.pk}")
    driver.thaw(vm.pk)
    return {"is_off": state.power in (PowerState.STOPPED, PowerState.CRASHED)}


def begin(context: StepContext) -> Output:
    """Where the changes since the last one are not known any more, this one is full, and says why."""
    vm = machine(context.operation)
    driver = driver_of(context, vm)
    driver.thaw(vm.pk)  # whoever began before may have died in between
    _note_instant(context)
    try:
        facts = driver.back_up(vm.pk, _spec(context))
    except errors.CheckpointLost as error:
        _make_full(_backup(context), f"Full, because {error}.")
        facts = driver.back_up(vm.pk, _spec(context))
    return _caught(facts)


def _note_instant(context: StepContext) -> None:
    """The first try's, which is never later than what the backup has."""
    rows = Backup.objects.unscoped("workflow").filter(pk=context.params["backup"], taken_at=None)
    rows.update(taken_at=timezone.now())


def _caught(facts: BackupFacts) -> Output:
    return {"consistency": str(facts.consistency), "counts_changes": facts.counts_changes}


def stop_and_remove(context: StepContext) -> None:
    vm = machine(context.operation)
    driver = driver_of(context, vm)
    try:
        driver.end_backup(vm.pk, _spec(context))
    except errors.NotFound:  # the pool was never made
        driver.thaw(vm.pk)
    observe_now(context)


def copy(context: StepContext) -> Output:
    """The host goes on by itself; this looks how far it is."""
    vm, spec = machine(context.operation), _spec(context)
    driver = driver_of(context, vm)
    read = int(context.kept.get("total", 0))

    def look() -> BackupFacts:
        nonlocal read
        facts = driver.back_up(vm.pk, spec)
        read = facts.total_bytes or read
        return facts

    facts = Watch(context).until_complete(look, keep=lambda: {"total": read})
    observe_now(context)
    # one that began anew has caught the guest anew; without a count nobody remembers how
    return {"bytes_read": read, **((_caught(facts) or {}) if facts.counts_changes else {})}


def sum_up(context: StepContext) -> Output:
    """Read back what was written: from now on it can be told from anything else."""
    vm, backup = machine(context.operation), _backup(context)
    driver = target_driver(context, backup.target, vm.host)
    names = [disk.file_name for disk in backup.disks.all()]
    sums = measure(context, driver, backup.target.pool_name, names)
    return {"sums": {name: list(each) for name, each in sums.items()}}


def _spec(context: StepContext) -> BackupSpec:
    backup = _backup(context)
    disks = backup.disks.select_related("parent")
    return BackupSpec(
        pool=backup.target.pool_name,
        disks=tuple(
            BackupDiskSpec(disk.target, disk.file_name, disk.parent.file_name if disk.parent else "") for disk in disks
        ),
        checkpoint=backup.checkpoint,
        since=backup.parent.checkpoint if backup.parent else "",
        keep=_kept_checkpoints(backup),
        is_off=bool(context.outputs.get("is_off")),
    )


def _kept_checkpoints(backup: Backup) -> tuple[str, ...]:
    """Those that the next backups count from: to other targets, and to this one should this backup fail yet."""
    rows = Backup.objects.unscoped("workflow").filter(source_id=backup.source_id, state=BackupState.READY)
    others = rows.exclude(target=backup.target).order_by("target_id", "-created_at")
    latest: dict[Any, str] = {backup.target_id: backup.parent.checkpoint} if backup.parent else {}
    for each in others:
        latest.setdefault(each.target_id, each.checkpoint)
    return tuple(latest.values())


@transaction.atomic
def _make_full(backup: Backup, words: str) -> None:
    backup.disks.update(parent=None)
    rows = Backup.objects.unscoped("workflow").filter(pk=backup.pk)
    rows.update(kind=BackupKind.FULL, parent=None, why_full=words[:200])


def _backup(context: StepContext) -> Backup:
    return backup_of(context.params["backup"])


def keep(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """It is there: what it took of the quota beyond its files is given back."""
    backup = backup_of(operation.params["backup"])
    total = 0
    for disk in backup.disks.all():
        disk.size_bytes, disk.sha256 = outputs["sums"][disk.file_name]
        disk.save(update_fields=["size_bytes", "sha256"])
        total += disk.size_bytes
    backup.state = BackupState.READY
    backup.size_mib = mib_of(total)
    backup.consistency = outputs["consistency"]
    backup.counts_changes = outputs["counts_changes"]
    backup.bytes_read = outputs["bytes_read"]
    backup.save()
    ledger.hold(backup.tenant_id, backup.pk, backup.wanted, {})
    actor = operations.actor_of(operation)
    after = {"kind": backup.kind, "size_mib": backup.size_mib, "consistency": backup.consistency}
    log.record("backup.made", actor=actor, target=backup, operation_id=operation.pk, after=after)


def mib_of(bytes_: int) -> int:
    """Begun ones count."""
    return max(-(-bytes_ // (1 << 20)), 1)


def forget(operation: Operation) -> None:
    """Nothing of it is left on the target; earlier ones are as they were."""
    backup = backup_of(operation.params["backup"])
    ledger.release(backup.pk)
    backup.delete()


def disks_of(vm: VM, backup: Backup, parent: Backup | None) -> list[BackupDisk]:
    """A file for each volume; on that of the parent where it has one of the same volume."""
    below = {disk.volume_id: disk for disk in parent.disks.all()} if parent else {}
    return [
        BackupDisk(
            backup=backup,
            parent=below.get(volume.pk),
            volume_id=volume.pk,
            name=volume.name,
            target=volume.target,
            is_boot=volume.is_boot,
            size_gib=volume.size_gib,
        )
        for volume in vm.volumes.all()
    ]


BACK_UP = register(
    Workflow(
        kind="vm.backup",
        doing="backing up",
        done="backed up",
        permission=Permission.VM_WRITE,
        steps=(
            Step("target", "Looking at the backup target", prepare),
            Step("begin", "Holding on to this instant", begin, undo=stop_and_remove),
            Step("copy", "Copying the disks", copy, weight=6),
            Step("sums", "Reading back what was written", sum_up, weight=2),
        ),
        succeeded=keep,
        unwound=forget,
        translate=translate,
        deadline=timedelta(hours=24),
    )
)
