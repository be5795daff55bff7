"""Backups by schedule."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from hosts.models import BackupTarget
from portal.core.errors import Conflict, Invalid
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from vms import backup_selectors
from vms.models import Backup, BackupState, Schedule, ScheduleKind
from vms.scheduling.makers import Maker, register
from vms.services import backups


def make(actor: Actor, schedule: Schedule, now: datetime) -> tuple[UUID, Operation]:
    target = BackupTarget.objects.filter(pk__in=[schedule.target]).first()
    if target is None:
        raise Conflict("Its backup target is gone.", code="no_backup_target")
    backup, operation = backups.back_up(actor=actor, vm=schedule.vm, target=target.slug)
    return backup.pk, operation


def delete(actor: Actor, id: UUID) -> Operation:
    return backups.delete(actor=actor, backup=backup_selectors.backup(actor, id))


def whole(ids: Collection[UUID]) -> set[UUID]:
    rows = Backup.objects.unscoped("scheduler").filter(pk__in=ids, state=BackupState.READY, damage="")
    return set(rows.values_list("pk", flat=True))


def target(actor: Actor, tenant: Tenant, reference: str | None) -> UUID:
    rows = backup_selectors.targets()
    found = rows.filter(slug=reference).first() if reference else rows.first()
    if found is None and not reference:
        raise Invalid("There is no backup target yet. An administrator adds one.", field="target")
    if found is None:
        raise Invalid("There is no such backup target.", code="unknown_reference", field="target")
    return found.pk


register(ScheduleKind.BACKUP, Maker(make, delete, whole, needs_target=True, target=target))
