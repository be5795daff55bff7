"""Failed hosts and what is stranded on them, as pages show it: plain values, decided once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.urls import reverse

from hosts.models import FenceAgent, Host
from portal.operations.models import Operation
from portal.operations.workflow import kinds, workflow_of
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms.failover_selectors import Down, Stranded
from vms.loss import Loss
from vms.takeover import Outlook

LONGEST_NAME = 63
MOST_OBSTACLES = 10


@dataclass(frozen=True)
class StrandedRow:
    """A machine of a failed host. `standing` and `obstacles`, one for each host that is in question, are for
    administrators. `restore_url` takes `restore_name` for a new machine; "" without a backup."""

    id: UUID
    name: str
    tenant: str
    url: str
    words: str
    standing: str
    look: str
    obstacles: Sequence[str]
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
    """What can be done about a host, and why not; `power` is what fencing it off comes to. `agent_url` is where its
    agent is set, "" where it works. `suspicion`, `unfenced`, `operation_url` and `doing`, which is what works on the
    host now, are "" where there is nothing to tell. Writing it off loses `lost_machines` and `lost_volumes`, disks
    beside those; `maimed` machines stay without some of theirs."""

    name: str
    policy: str
    suspicion: str
    is_suspected: bool
    unfenced: str
    has_failed: bool
    failed_at: datetime | None
    agent: str
    agent_problem: str
    agent_url: str
    power: str
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
        agent_url="" if agent and agent.works else reverse("host-fence-agent", args=[host.name]),
        power=_power_words(agent),
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


def _power_words(agent: FenceAgent | None) -> str:
    """What fencing it off comes to."""
    if agent is None:
        return "It has no fence agent, so nothing can cut its power, and only a person can say that it is off."
    if not agent.works:
        return "Its fence agent did not work when it was last asked, or is not known to be right. That proves nothing."
    return (
        "Its fence agent cuts its power and says that it is off. Then its machines start elsewhere, as far as other "
        "hosts reach their disks, have what they ask for, and have room."
    )


@dataclass(frozen=True)
class DownNotice:
    """On a tenant's overview: `machines` are names with addresses, `more` how many others there are."""

    title: str
    since: datetime | None
    machines: Sequence[tuple[str, str]]
    more: int


def down(found: Down, slug: str) -> DownNotice:
    one = found.count == 1
    return DownNotice(
        title="A machine is off: its host failed" if one else f"{found.count} machines are off: their host failed",
        since=found.since,
        machines=[(vm.name, reverse("vm-detail", args=[slug, vm.pk])) for vm in found.vms],
        more=found.count - len(found.vms),
    )


def row(actor: Actor, found: Stranded) -> StrandedRow:
    vm, operation = found.vm, found.operation
    slug, (standing, look) = vm.tenant.slug, _standing(found.outlook)
    return StrandedRow(
        id=vm.pk,
        name=vm.name,
        tenant=slug,
        url=reverse("vm-detail", args=[slug, vm.pk]),
        words=_words(found),
        standing=standing,
        look=look,
        obstacles=_few(found.outlook.obstacles) if found.outlook else (),
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


def _standing(outlook: Outlook | None) -> tuple[str, str]:
    if outlook is None:
        return "not built whole", "attention"
    if outlook.host is not None:
        return "can start elsewhere", "running"
    if outlook.is_local:
        return "on this host alone", "attention"
    return f"none of the others {outlook.words}", "attention"


def _few(obstacles: Sequence[str]) -> Sequence[str]:
    left_out = len(obstacles) - MOST_OBSTACLES
    return [*obstacles[:MOST_OBSTACLES], f"And {left_out} more."] if left_out > 0 else obstacles


def _words(found: Stranded) -> str:
    """For its tenant: names no host."""
    outlook = found.outlook
    if outlook is None:
        return "It was not built whole, so no other host starts it. Delete it, or ask an administrator."
    if outlook.host is not None:
        return "Other hosts reach its disks. It starts on one of them in its turn."
    if not outlook.is_local:
        why = f"Other hosts reach its disks, but none of them {outlook.words}."
        if outlook.is_passing:
            return f"{why} It starts on one of them as soon as one does."
        return f"{why} So it is off until its host is back, or an administrator has changed that."
    kept = "Its disks lie on that host alone, so it is off until the host is back."
    if found.newest_backup is None:
        return f"{kept} There is no backup of it."
    return f"{kept} Its newest backup can become a new machine at once; what was written since is on that host."
