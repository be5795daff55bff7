"""What is on hosts that are to be emptied, and the plan that comes of it. Claims nothing and changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from django.db.models import QuerySet

from hosts import placement
from hosts.models import Cluster, Host, HostState
from portal.operations.selectors import active_on_each
from portal.tenancy.gate import SYSTEM, Actor
from portal.tenancy.roles import Permission
from vms import loose, migration
from vms.maintenance.plan import Move, Plan, in_turn, simulate
from vms.models import VM, Lifecycle
from vms.selectors import actions
from vms.states import Action


def machines_on(hosts: Sequence[Host]) -> list[VM]:
    """Of all tenants, also those in the bin, in the order in which they move."""
    rows = VM.objects.unscoped("the provider empties hosts").filter(host__in=hosts)
    return in_turn(rows.select_related("host__cluster", "flavor", "tenant"))


def machines_of(actor: Actor, host: Host) -> QuerySet[VM]:
    """Newest first, for the host's page."""
    actor.require(Permission.HOST_READ)
    rows = VM.objects.for_actor(actor).filter(host=host)
    return rows.select_related("host__cluster", "flavor", "tenant").order_by("-created_at", "-id")


def ways_out(host: Host, vms: Sequence[VM]) -> Mapping[UUID, Move]:
    """Where each of these would go, were they to leave in their turn; as many queries for one as for all."""
    stuck = {vm.pk: words for vm in vms if (words := why_stuck(vm))}
    candidates = migration.survey(in_turn(vms))
    plan = simulate(host, candidates, placement.sites(uses_reserve=True), stuck)
    return {move.vm.pk: move for move in plan.moves}


def plan_of(actor: Actor, host: Host) -> Plan:
    """As many queries for one machine as for hundreds."""
    actor.require(Permission.HOST_READ)
    (plan,) = _plans([host])
    return plan


def rolling_plan(actor: Actor, cluster: Cluster) -> list[Plan]:
    """Each host that a roll would drain by itself, onto the others as they are now; queries as for one."""
    actor.require(Permission.HOST_READ)
    hosts = cluster.hosts.filter(state=HostState.ENABLED).select_related("cluster")
    return _plans(list(hosts.order_by("name")))


def why_stuck(vm: VM) -> str:
    """Why it cannot be moved whatever hosts there are, for people; "" where it can, or can once it is built."""
    if vm.lifecycle == Lifecycle.BUILDING or (vm.lifecycle == Lifecycle.DELETING and not vm.is_binned):
        return ""
    verdict = actions(SYSTEM, vm, None)[Action.MIGRATE]
    return "" if verdict.allowed else verdict.reason


def _plans(hosts: list[Host]) -> list[Plan]:
    vms = machines_on(hosts)
    candidates = defaultdict(list)
    for candidate in migration.survey(vms):
        candidates[candidate.vm.host_id].append(candidate)
    sites, busy = placement.sites(uses_reserve=True), active_on_each(vm.pk for vm in vms)
    why_not: dict[UUID, str] = {vm.pk: words for vm in vms if (words := why_stuck(vm))}

    def waiting(move: Move) -> Move:
        operation = busy.get(move.vm.pk)
        return replace(move, waits=operation.title) if operation else move

    plans = [simulate(host, candidates[host.pk], sites, why_not) for host in hosts]
    volumes = loose.staying(hosts)
    return [
        replace(plan, moves=tuple(waiting(move) for move in plan.moves), loose_volumes=volumes.get(plan.host.pk, 0))
        for plan in plans
    ]
