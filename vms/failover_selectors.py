"""What a host that has failed, or may have, took down with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery

from hosts.models import Host, HostState
from portal.events import selectors as events
from portal.events.models import Event
from portal.operations.models import Operation
from portal.operations.selectors import active_on_each
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from vms import loss, takeover
from vms.loss import Loss
from vms.models import VM, Backup, BackupState
from vms.takeover import Outlook
from vms.workflows.failover import FAILOVER, UNFENCED

LATELY = 20
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Stranded:
    """A machine of such a host. `outlook` says where it starts; None for one that was never built whole, which starts
    nowhere. `newest_backup` is the id of its newest complete one."""

    vm: VM
    outlook: Outlook | None
    newest_backup: UUID | None
    backup_taken_at: datetime | None
    operation: Operation | None

    @property
    def is_local(self) -> bool:
        """No other host reaches its disks."""
        return self.outlook is not None and self.outlook.is_local


@dataclass(frozen=True, slots=True)
class Down:
    """A tenant's machines whose host has failed: how many, some of them, and since when."""

    count: int
    vms: Sequence[VM]
    since: datetime | None


def down_in(actor: Actor, tenant: Tenant) -> Down | None:
    """None where there are none. Two queries; those in the bin do not count, for they are off anyway."""
    rows = VM.objects.for_actor(actor).filter(tenant=tenant, host__state=HostState.FAILED, binned_at=None)
    if not (count := rows.count()):
        return None
    few = list(rows.select_related("host").order_by("name")[:MOST_NAMED])
    return Down(count, few, min((vm.host.failed_at for vm in few if vm.host.failed_at), default=None))


def machines_on(actor: Actor, host: Host) -> QuerySet[VM]:
    """Newest first, for `stranded`."""
    actor.require(Permission.HOST_READ)
    return _with_newest_backup(VM.objects.for_actor(actor).filter(host=host))


def one_stranded(vm: VM) -> Stranded:
    """A machine in hand."""
    rows = _with_newest_backup(VM.objects.unscoped("one in hand").filter(pk=vm.pk))
    (found,) = stranded(list(rows))
    return found


def _with_newest_backup(rows: QuerySet[VM]) -> QuerySet[VM]:
    complete = Backup.objects.unscoped("of machines in hand").filter(state=BackupState.READY, damage="")
    newest = complete.filter(source_id=OuterRef("pk")).order_by("-taken_at")
    return rows.select_related("tenant", "flavor", "host").annotate(
        newest_backup=Subquery(newest.values("pk")[:1]), backup_taken_at=Subquery(newest.values("taken_at")[:1])
    )


def stranded(vms: Sequence[VM]) -> Sequence[Stranded]:
    """As many queries for one as for all. Each is judged with all that its host takes down with it."""
    outlooks = takeover.of_hosts({vm.host_id: vm.host for vm in vms}.values())
    busy = active_on_each([vm.pk for vm in vms])
    return [
        Stranded(vm, outlooks.get(vm.pk), vm.newest_backup, vm.backup_taken_at, busy.get(vm.pk))  # type: ignore[attr-defined]
        for vm in vms
    ]


def why_not_fenced(actor: Actor, host: Host) -> str:
    """Why its last failover had no proof that it is off; "" where it had, or there was none."""
    actor.require(Permission.HOST_READ)
    rows = Operation.objects.for_actor(actor).filter(kind=FAILOVER.kind, target_id=host.pk)
    last = rows.order_by("-created_at", "-id").first()
    error = (last.error or {}) if last is not None and not host.has_failed else {}
    return str(error.get("detail", "")) if error.get("code") == UNFENCED else ""


def lost(actor: Actor, host: Host) -> Loss | None:
    """What writing it off would lose; None while it has not failed."""
    actor.require(Permission.HOST_READ)
    return loss.of(host) if host.has_failed else None


def under_way(actor: Actor, host: Host) -> Operation | None:
    """What works on the host itself now."""
    actor.require(Permission.HOST_READ)
    return active_on_each([host.pk]).get(host.pk)


def history(actor: Actor, host: Host) -> Sequence[Event]:
    """What became of the host's health, newest first."""
    actor.require(Permission.HOST_READ)
    kinds = (
        "suspected",
        "trusted",
        "fenced",
        "not-fenced",
        "confirmed-off",
        "failed-over",
        "written-off",
        "back",
        "state-changed",
    )
    rows = events.events(actor, events.Filter(target_id=host.pk, kind="host"))
    return list(rows.filter(kind__in=[f"host.{kind}" for kind in kinds])[:LATELY])
