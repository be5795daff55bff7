"""Failed hosts and what is stranded on them, as pages show it: plain values, decided once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.urls import reverse

from hosts.models import Host
from portal.operations.models import Operation
from portal.operations.workflow import kinds, workflow_of
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms.failover_selectors import Stranded
from vms.loss import Loss
from vms.models import VM

LONGEST_NAME = 63


@dataclass(frozen=True)
class StrandedRow:
    """A machine of a failed host. `restore_url` takes `restore_name` for a new machine; "" without a backup."""

    id: UUID
    name: str
    tenant: str
    url: str
    words: str
    since: datetime | None
    is_local: bool
    operation_url: str
    doing: str
    restore_url: str
    restore_name: str
    backup_taken_at: datetime | None
    may_restore: bool
    why_not: str


@dataclass(frozen=True)
class FailoverPage:
    """What can be done about a host, and why not. `suspicion`, `unfenced`, `operation_url` and `doing`, which is what
    works on the host now, are "" where there is nothing to tell. Writing it off loses `lost_machines` and
    `lost_volumes`, disks beside those; `maimed` machines stay without some of theirs."""

    name: str
    policy: str
    suspicion: str
    is_suspected: bool
    unfenced: str
    has_failed: bool
    failed_at: datetime | None
    agent: str
    agent_problem: str
    can_fence: str
    can_confirm: str
    can_write_off: str
    lost_machines: int
    lost_volumes: int
    maimed: int
    is_reachable: bool
    operation_url: str
    doing: str


def page(
    actor: Actor, host: Host, unfenced: str, operation: Operation | None, lost: Loss | None = None
) -> FailoverPage:
    agent = getattr(host, "fence_agent", None)
    denied = "" if actor.can(Permission.HOST_WRITE) else actor.why_not(Permission.HOST_WRITE)
    over = "It has failed already." if host.has_failed else ""
    answers = "It answered a moment ago, so it is not off." if host.is_reachable else ""
    return FailoverPage(
        name=host.name,
        policy=host.cluster.get_failover_display(),
        suspicion=host.suspicion,
        is_suspected=host.suspected_at is not None,
        unfenced=unfenced,
        has_failed=host.has_failed,
        failed_at=host.failed_at,
        agent=agent.agent if agent else "",
        agent_problem=agent.problem if agent else "",
        can_fence=denied or over or ("" if agent else "It has no fence agent."),
        can_confirm=denied or over or answers,
        can_write_off=denied,
        lost_machines=len(lost.machines) if lost else 0,
        lost_volumes=len(lost.volumes) if lost else 0,
        maimed=len(lost.maimed) if lost else 0,
        is_reachable=host.is_reachable,
        operation_url=reverse("operation-detail", args=[operation.pk]) if operation else "",
        doing=operation.title if operation else "",
    )


def row(actor: Actor, found: Stranded) -> StrandedRow:
    vm, operation = found.vm, found.operation
    slug = vm.tenant.slug
    return StrandedRow(
        id=vm.pk,
        name=vm.name,
        tenant=slug,
        url=reverse("vm-detail", args=[slug, vm.pk]),
        words=_words(vm, found),
        since=vm.host.failed_at,
        is_local=found.is_local,
        operation_url=reverse("operation-detail", args=[operation.pk]) if operation else "",
        doing=workflow_of(operation.kind).doing if operation and operation.kind in kinds() else "",
        restore_url=reverse("backup-restore", args=[slug, found.newest_backup]) if found.newest_backup else "",
        restore_name=f"{vm.name[: LONGEST_NAME - len('-restored')].rstrip('-')}-restored",
        backup_taken_at=found.backup_taken_at,
        may_restore=actor.can(Permission.VM_WRITE, vm.tenant_id),
        why_not=actor.why_not(Permission.VM_WRITE, vm.tenant_id),
    )


def _words(vm: VM, found: Stranded) -> str:
    if not found.is_local:
        return "Other hosts reach its disks. It starts on one of them as soon as there is room."
    kept = "Its disks lie on that host alone, so it is off until the host is back."
    if found.newest_backup is None:
        return f"{kept} There is no backup of it."
    return f"{kept} Its newest backup can become a new machine at once; what was written since is on that host."
