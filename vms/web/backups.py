"""Backups as pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.urls import reverse

from portal.core.units import mib, size
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from vms.backup_selectors import actions, facts_of
from vms.backup_states import BackupAction
from vms.models import Backup, BackupKind
from vms.states import Verdict

CONSISTENCY = {
    "frozen": "File systems were frozen: nothing was half-written.",
    "crash": "As after a power cut: no agent answered in the guest.",
    "off": "The machine was off.",
    "": "",
}
_SHORT = {"frozen": "file systems frozen", "crash": "as after a power cut", "off": "it was off", "": ""}
_KINDS = {BackupKind.FULL: "full", BackupKind.INCREMENTAL: "incremental"}


@dataclass(frozen=True)
class BackupRow:
    """`check` is the verdict of the last verification in words, `look` its look; `vm_url` is "" where it is gone."""

    id: UUID
    key: str
    vm_name: str
    vm_url: str
    target: str
    kind: str
    why_full: str
    size: str
    read: str
    consistency: str
    consistency_words: str
    taken_at: datetime | None
    created_at: datetime
    status: str
    look: str
    check: str
    check_look: str
    verified_at: datetime | None
    damage: str
    operation_url: str
    restore_url: str
    verify_url: str
    delete_url: str
    can_restore: Verdict
    can_verify: Verdict
    can_delete: Verdict


def row(actor: Actor, backup: Backup, operation: Operation | None, back: str = "") -> BackupRow:
    """`back` is a query by which its buttons lead back to where they are."""
    slug, verdicts = backup.tenant.slug, actions(actor, backup, facts_of(backup, operation))
    own = [slug, backup.pk]
    status, look = _status(backup, operation)
    check, check_look = _check(backup)
    return BackupRow(
        id=backup.pk,
        key=str(backup.pk),
        vm_name=backup.vm_name,
        vm_url=reverse("vm-backups", args=[slug, backup.vm_id]) if backup.vm_id else "",
        target=backup.target.name,
        kind=_KINDS[BackupKind(backup.kind)],
        why_full=backup.why_full,
        size=mib(backup.size_mib),
        read=size(backup.bytes_read),
        consistency=_SHORT[backup.consistency],
        consistency_words=CONSISTENCY[backup.consistency],
        taken_at=backup.taken_at,
        created_at=backup.created_at,
        status=status,
        look=look,
        check=check,
        check_look=check_look,
        verified_at=backup.verified_at,
        damage=backup.damage,
        operation_url=reverse("operation-detail", args=[operation.pk]) if operation else "",
        restore_url=reverse("backup-restore", args=own),
        verify_url=reverse("backup-verify", args=own) + back,
        delete_url=reverse("backup-delete", args=own) + back,
        can_restore=verdicts[BackupAction.RESTORE_AS_NEW],
        can_verify=verdicts[BackupAction.VERIFY],
        can_delete=verdicts[BackupAction.DELETE],
    )


def rows(actor: Actor, backups: list[Backup], busy: Mapping[UUID, Operation], back: str = "") -> list[BackupRow]:
    return [row(actor, backup, busy.get(backup.pk), back) for backup in backups]


def _status(backup: Backup, operation: Operation | None) -> tuple[str, str]:
    if operation is not None:
        return "in use" if backup.state == "ready" else "being made", "working"
    if backup.damage:
        return "damaged", "failed"
    return ("complete", "running") if backup.state == "ready" else ("incomplete", "attention")


def _check(backup: Backup) -> tuple[str, str]:
    if backup.verified_at is None:
        return "not verified yet", ""
    return ("damaged", "failed") if backup.damage else ("verified", "running")
