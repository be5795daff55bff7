"""Backup targets: registering, checking, choosing, and letting go of one."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from django.db import IntegrityError, models, transaction

from hosts.models import BackupTarget
from hosts.workflows.check_target import CHECK_TARGET
from portal.core import text
from portal.core.errors import Conflict, Invalid
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission

MOST_PATH = 300
_OURS_TO_LEAVE_ALONE = ("/", "/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/root", "/run", "/sbin", "/sys", "/usr")


@transaction.atomic
def add_target(*, actor: Actor, slug: str, path: str, name: str = "") -> tuple[BackupTarget, Operation]:
    """Register a directory; the check finds out which hosts reach it. The first one is the default."""
    actor.require(Permission.HOST_WRITE)
    text.slug(slug, field="slug")
    target = BackupTarget(slug=slug, name=name.strip() or slug, path=_checked(path))
    target.is_default = not BackupTarget.objects.filter(is_default=True).exists()
    try:
        with transaction.atomic():
            target.save(force_insert=True)
    except IntegrityError as error:
        field = "slug" if BackupTarget.objects.filter(slug=slug).exists() else "path"
        raise Conflict("There is a backup target with this name or path.", code="duplicate", field=field) from error
    log.record("backup-target.added", actor=actor, target=target, after={"path": target.path})
    return target, check(actor=actor, target=target)


@transaction.atomic
def check(*, actor: Actor, target: BackupTarget) -> Operation:
    """Look from each host whether it reaches the directory, and how much room there is."""
    actor.require(Permission.HOST_WRITE)
    return operations.submit(CHECK_TARGET, actor=actor, target=target, title=f"Check backup target {target.name}")


@transaction.atomic
def change(*, actor: Actor, target: BackupTarget, **wanted: Any) -> BackupTarget:
    """`name`, `is_active` (it takes new backups), `is_default` (only True: another one takes it over)."""
    actor.require(Permission.HOST_WRITE)
    before = {name: getattr(target, name) for name in wanted}
    if wanted.get("is_default") is False and target.is_default:
        raise Invalid("Make another one the default instead.", field="is_default")
    if wanted.get("is_default"):
        BackupTarget.objects.filter(is_default=True).exclude(pk=target.pk).update(is_default=False)
    for name, value in wanted.items():
        setattr(target, name, value)
    target.save(update_fields=list(wanted) or None)
    log.record("backup-target.changed", actor=actor, target=target, before=before, after=wanted)
    return target


@transaction.atomic
def forget(*, actor: Actor, target: BackupTarget) -> None:
    """Only while no backup is there. Its directory, and whatever else is in it, stays as it is."""
    actor.require(Permission.HOST_WRITE)
    log.record("backup-target.removed", actor=actor, target=target, before={"path": target.path})
    try:
        target.delete()
    except models.ProtectedError as error:
        raise Conflict(
            "There are backups on it. Delete them first, or let it take no new ones.", code="in_use"
        ) from error


def _checked(path: str) -> str:
    """Absolute, plain, and none of the system's own directories."""
    clean = PurePosixPath(path)
    if len(path) > MOST_PATH or not path.isprintable() or not clean.is_absolute() or ".." in clean.parts:
        raise Invalid("Use the absolute path of a directory, the same on every host.", field="path")
    if str(clean) in _OURS_TO_LEAVE_ALONE:
        raise Invalid("That directory is the system's own. Use one for backups alone.", field="path")
    return str(clean)
