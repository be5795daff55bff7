"""N+1: whether what is on the largest host of a cluster would fit on the others now.

By CPUs and memory, as they are claimed: first-fit, the largest machine first. Which storage the others reach is not
asked here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from hosts.models import Cluster, Host, HostState
from portal.quotas.models import Claim

RESOURCES = ("vcpus", "memory_mib")
Amounts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Spare:
    """`host` is the one with most, "" where none has anything; `without_room` is for how many of its machines there is
    none elsewhere."""

    host: str = ""
    machines: int = 0
    without_room: int = 0


def of_each(clusters: Iterable[Cluster]) -> dict[UUID, Spare]:
    """By id of cluster, in two queries for any number."""
    wanted = {cluster.pk: Spare() for cluster in clusters}
    hosts: dict[UUID, list[Host]] = defaultdict(list)
    for host in Host.objects.filter(cluster__in=list(wanted)).exclude(state=HostState.FAILED):
        hosts[host.cluster_id].append(host)
    claims = _claims(host.pk for those in hosts.values() for host in those)
    return {**wanted, **{id: _of(those, claims) for id, those in hosts.items()}}


def without_room(machines: Iterable[Amounts], free: Iterable[Amounts]) -> int:
    """How many machines find no place in what is free on each host. Pure."""
    left = [dict(each) for each in free]
    homeless = 0
    for machine in sorted(machines, key=lambda each: (each.get("memory_mib", 0), each.get("vcpus", 0)), reverse=True):
        place = next((each for each in left if all(each[name] >= machine.get(name, 0) for name in RESOURCES)), None)
        if place is None:
            homeless += 1
            continue
        for name in RESOURCES:
            place[name] -= machine.get(name, 0)
    return homeless


def _of(hosts: Sequence[Host], claims: Mapping[UUID, Sequence[Amounts]]) -> Spare:
    largest = max(hosts, key=lambda host: _sum(claims[host.pk], "memory_mib"))
    machines = claims[largest.pk]
    if not machines:
        return Spare()
    others = [host for host in hosts if host.pk != largest.pk and host.takes_machines]
    free = [{name: (host.capacity[name] or 0) - _sum(claims[host.pk], name) for name in RESOURCES} for host in others]
    return Spare(largest.name, len(machines), without_room(machines, free))


def _sum(machines: Iterable[Amounts], resource: str) -> int:
    return sum(machine.get(resource, 0) for machine in machines)


def _claims(host_ids: Iterable[UUID]) -> Mapping[UUID, list[Amounts]]:
    """Of each host what each machine on it has; what is but a disk is none."""
    rows = Claim.objects.filter(account_id__in=list(host_ids), resource__in=RESOURCES)
    found: dict[UUID, dict[UUID, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for account_id, holder_id, resource, amount in rows.values_list("account_id", "holder_id", "resource", "amount"):
        found[account_id][holder_id][resource] = amount
    return defaultdict(list, {account: list(holders.values()) for account, holders in found.items()})
