"""Deleting a backup. Those that stand on it first take over what they need; whenever that stops, all are whole."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from hosts.driver import errors
from hosts.driver.base import Driver
from hosts.errors import translate
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, StepFailed, TransientError, Workflow, register
from portal.quotas import ledger
from portal.tenancy.roles import Permission
from vms.models import Backup, BackupDisk, BackupKind
from vms.workflows.backup import mib_of
from vms.workflows.backup_files import (
    backup_of,
    check_files,
    delete_files,
    measure,
    reaching_host,
    target_driver,
)
from vms.workflows.watch import Watch


def check_next(context: StepContext) -> Output:
    """What is damaged must not be taken over: nobody could tell afterwards. A target out of reach shows here."""
    driver = _driver(context)
    for child in _children(context):
        check_files(context, driver, child)
    return None


def hand_over(context: StepContext) -> Output:
    for file in _standing_on_it(context):
        _absorb(context, file)
    return None


def settle(context: StepContext) -> Output:
    """A file that has taken something over, all of it or a part, is another one than before: sum it up anew."""
    driver = _driver_again(context)
    for file in _standing_on_it(context):
        driver.end_absorb(file.pk)
        pool = file.backup.target.pool_name
        there, below = driver.volume(pool, file.file_name), file.parent.parent if file.parent else None
        is_over = there is not None and there.backing == (below.file_name if below else None)
        size, sha256 = measure(context, driver, pool, [file.file_name])[file.file_name]
        parent_id = below.pk if is_over and below else None if is_over else file.parent_id
        BackupDisk.objects.filter(pk=file.pk).update(size_bytes=size, sha256=sha256, parent_id=parent_id)
    return None


def take_back(context: StepContext) -> None:
    """What was taken over stays so; nothing reads otherwise for it."""
    settle(context)


def delete(context: StepContext) -> Output:
    backup = backup_of(context.operation.target_id)
    delete_files(_driver(context), backup.target, backup.disks.all())
    return None


def note_missing(context: StepContext) -> None:
    """Of a journal that turned round here before this was a final step: nothing is to stand on what has gaps."""
    backup, driver = backup_of(context.operation.target_id), _driver(context)
    missing = [disk.target for disk in backup.disks.all() if not driver.volume(backup.target.pool_name, disk.file_name)]
    if missing:
        words = f"its deletion was begun; the file of disk {', '.join(missing)} is missing."
        rows = Backup.objects.unscoped("workflow").filter(pk=backup.pk)
        rows.update(verified_at=timezone.now(), damage=words[:300])


def _absorb(context: StepContext, file: BackupDisk) -> None:
    assert file.parent is not None
    base = file.parent.parent.file_name if file.parent.parent else ""
    pool, driver = file.backup.target.pool_name, _driver_again(context)
    try:
        Watch(context, file.pk).until_complete(lambda: driver.absorb(file.pk, pool, file.file_name, base))
    except errors.DriverError:
        _driver_again(context)  # it may have gone away in the middle
        raise


def _driver(context: StepContext) -> Driver:
    target = backup_of(context.operation.target_id).target
    return target_driver(context, target, reaching_host(target))


def _driver_again(context: StepContext) -> Driver:
    """Of a target that was there when this began. Where it is away by now, that is waited for.

    By an undo as well: what a file has taken over until then is told by reading it alone.
    """
    try:
        return _driver(context)
    except (StepFailed, errors.DriverError) as error:
        if isinstance(error, errors.DriverError) and error.transient:
            raise
        name = backup_of(context.operation.target_id).target.name
        raise TransientError(f"the backup target {name}, which is not mounted any more") from error


def _children(context: StepContext) -> list[Backup]:
    rows = Backup.objects.unscoped("workflow").select_related("target", "parent")
    return list(rows.filter(parent_id=context.operation.target_id))


def _standing_on_it(context: StepContext) -> list[BackupDisk]:
    rows = BackupDisk.objects.filter(parent__backup_id=context.operation.target_id)
    return list(rows.select_related("parent__parent", "backup__target"))


def forget(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """What stood on it stands on what it stood on, and pays for what it took over."""
    backup = backup_of(operation.target_id)
    ledger.release(backup.pk)
    _hand_on(backup)
    backup.delete()


def keep(operation: Operation) -> None:
    """It is there, with what damage was noted; what has taken over all that it needs stands on it no longer."""
    _hand_on(backup_of(operation.target_id))


def _hand_on(backup: Backup) -> None:
    rows = Backup.objects.unscoped("workflow")
    both = rows.filter(Q(pk=backup.pk) | Q(parent=backup)).order_by("pk").select_for_update()
    list(both.values_list("pk"))  # in the order of vms.services.backups
    for child in rows.filter(parent=backup):
        size = mib_of(sum(disk.size_bytes for disk in child.disks.all()))
        changes: dict[str, Any] = {"size_mib": size}
        if not child.disks.filter(parent__backup=backup).exists():
            kind = BackupKind.INCREMENTAL if backup.parent_id else BackupKind.FULL
            changes |= {"parent": backup.parent, "kind": kind}
        rows.filter(pk=child.pk).update(**changes)
        ledger.hold(child.tenant_id, child.pk, {"backup_mib": size}, {})


DROP_BACKUP = register(
    Workflow(
        kind="backup.delete",
        doing="deleting",
        done="deleted",
        permission=Permission.VM_WRITE,
        steps=(
            Step("check", "Checking what stands on it", check_next, weight=2),
            Step("hand-over", "Handing over what later backups need", hand_over, undo=take_back, weight=4),
            Step("sums", "Reading back what was written", settle, weight=2),
            Step("files", "Deleting its files", delete, undo=note_missing, is_final=True),
        ),
        succeeded=forget,
        unwound=keep,
        translate=translate,
        deadline=timedelta(hours=24),
    )
)
