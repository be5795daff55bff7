"""N+1: whether what is on a host of a cluster would fit on the others now, were it to fail.

As it is claimed: first-fit, the largest machine first. Where a cluster keeps room for several hosts, so many fail at
once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from hosts import service_class
from hosts.models import Cluster, Host, HostState
from portal.quotas.models import Claim

# Of machines that are on these hosts, those that no other host can take over; who knows that puts its answer here.
local_on: Callable[[Collection[UUID]], Collection[UUID]] = lambda host_ids: frozenset()  # noqa: E731
_CPU, DEDICATED = "cpu:", "dedicated_cpus"
Amounts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Spare:
    """Of the host, or hosts, that would be the worst to lose; `host` is "" where none has anything.

    `machines` are those on it that others can take over, `without_room` how many of these find no place; `local` are
    those that are off until it is back.
    """

    host: str = ""
    machines: int = 0
    without_room: int = 0
    local: int = 0


def of_each(clusters: Iterable[Cluster]) -> dict[UUID, Spare]:
    """By id of cluster; as many queries for one as for all."""
    wanted = {cluster.pk: cluster for cluster in clusters}
    hosts: dict[UUID, list[Host]] = defaultdict(list)
    for host in Host.objects.filter(cluster__in=list(wanted)).exclude(state=HostState.FAILED):
        hosts[host.cluster_id].append(host)
    ids = [host.pk for those in hosts.values() for host in those]
    claims, local = _claims(ids), local_on(ids)
    return {id: _worst(hosts[id], cluster.failure_reserve, claims, local) for id, cluster in wanted.items()}


def without_room(machines: Iterable[Amounts], free: Iterable[Amounts]) -> int:
    """How many machines find no place in what is free on each host. Pure."""
    left = [dict(each) for each in free]
    homeless = 0
    for machine in sorted(machines, key=lambda each: (each.get("memory_mib", 0), each.get("vcpus", 0)), reverse=True):
        place = next((each for each in left if all(each.get(name, 0) >= machine[name] for name in machine)), None)
        if place is None:
            homeless += 1
            continue
        for name, amount in machine.items():
            place[name] -= amount
    return homeless


Claims = Mapping[UUID, Mapping[UUID, Amounts]]


def _worst(hosts: Sequence[Host], reserve: int, claims: Claims, local: Collection[UUID]) -> Spare:
    """Each host fails once; where several do, together with those that have most."""
    fullest = sorted(hosts, key=lambda host: _sum(claims[host.pk], "memory_mib"), reverse=True)
    free = {host.pk: _free(host, claims[host.pk]) for host in hosts if host.takes_machines}
    found = [Spare()]
    for host in hosts:
        others = [other for other in fullest if other.pk != host.pk][: max(reserve, 1) - 1]
        found.append(_without(sorted([host, *others], key=lambda each: each.name), free, claims, local))
    return max(found, key=lambda spare: (spare.without_room, spare.machines, spare.local))


def _without(failing: Sequence[Host], free: Mapping[UUID, Amounts], claims: Claims, local: Collection[UUID]) -> Spare:
    lost = {id: amounts for host in failing for id, amounts in claims[host.pk].items()}
    if not lost:
        return Spare()
    movable = [amounts for id, amounts in lost.items() if id not in local]
    gone = {host.pk for host in failing}
    homeless = without_room(movable, [amounts for id, amounts in free.items() if id not in gone])
    return Spare(" and ".join(host.name for host in failing), len(movable), homeless, len(lost) - len(movable))


def _free(host: Host, machines: Mapping[UUID, Amounts]) -> Amounts:
    """Of each resource that machines claim, but disks: those are there already."""
    promised = {name: most for name, most in service_class.limits(host).items() if not name.startswith(_CPU)}
    limits = {**host.capacity, **promised, DEDICATED: host.dedicated_cpus}
    return {name: (most or 0) - _sum(machines, name) for name, most in limits.items() if name != "disk_gib"}


def _sum(machines: Mapping[UUID, Amounts], resource: str) -> int:
    return sum(machine.get(resource, 0) for machine in machines.values())


def _claims(host_ids: Iterable[UUID]) -> Claims:
    """Of each host by machine what it has; what is but a disk is none. CPUs of its own are counted, not numbered."""
    rows = Claim.objects.filter(account_id__in=list(host_ids)).exclude(resource="disk_gib")
    found: dict[UUID, dict[UUID, dict[str, int]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
    for account_id, holder_id, resource, amount in rows.values_list("account_id", "holder_id", "resource", "amount"):
        found[account_id][holder_id][DEDICATED if resource.startswith(_CPU) else resource] += amount
    return found
