"""Reads of backups. Lists cost the same number of queries however long they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet

from hosts.models import BackupTarget
from portal.operations.models import Operation
from portal.operations.selectors import active_on_each, in_the_way
from portal.tenancy import gate
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from vms.backup_states import BackupAction, BackupFacts, verdicts
from vms.models import VM, Backup, BackupState
from vms.states import Verdict

GONE = "Its machine is gone. Restore it as a new one."


def targets() -> QuerySet[BackupTarget]:
    """Those that take new backups, the default one first; every tenant may use them."""
    return BackupTarget.objects.filter(is_active=True)


def backups(actor: Actor, *, tenant: Tenant | None = None, source_id: UUID | None = None) -> QuerySet[Backup]:
    """Newest first, with all that a row shows; of one machine by its id, also when that is gone."""
    rows = Backup.objects.for_actor(actor).select_related("tenant", "target", "vm", "image", "flavor")
    children = Backup.objects.unscoped("of rows in scope").filter(parent=OuterRef("pk"))
    if tenant is not None:
        rows = rows.filter(tenant=tenant)
    if source_id is not None:
        rows = rows.filter(source_id=source_id)
    return rows.annotate(has_children=Exists(children)).prefetch_related("disks")


def backup(actor: Actor, id: UUID | str, permission: Permission = Permission.VM_READ) -> Backup:
    return gate.get(Backup, actor, permission, id, related=("tenant", "target", "vm", "image", "flavor"))


def busy_with(rows: Iterable[Backup]) -> Mapping[UUID, Operation]:
    """What works on each of them now, by its id."""
    return active_on_each(row.pk for row in rows)


def facts_of(backup: Backup, operation: Operation | None) -> BackupFacts:
    has_children = getattr(backup, "has_children", None)
    if has_children is None:
        has_children = Backup.objects.unscoped("of one in hand").filter(parent=backup).exists()
    return BackupFacts(
        is_ready=backup.state == BackupState.READY,
        busy_with=in_the_way(operation),
        damage=backup.damage,
        has_children=has_children,
        why_not_vm=_why_not(backup.vm),
    )


def _why_not(vm: VM | None) -> str:
    if vm is None or vm.status == "deleting":
        return GONE
    return "" if vm.status in ("running", "paused", "stopped", "error") else f"Its machine is {vm.status}."


def actions(actor: Actor, backup: Backup, facts: BackupFacts) -> Mapping[BackupAction, Verdict]:
    """What this actor may do with this backup now, and why not."""
    if actor.can(Permission.VM_WRITE, backup.tenant_id):
        return verdicts(facts)
    return dict.fromkeys(BackupAction, Verdict(False, actor.why_not(Permission.VM_WRITE, backup.tenant_id)))
