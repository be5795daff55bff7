"""How far hosts are over-committed: what is given out of their CPUs, may be, and is promised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from hosts.models import Host, HostState
from hosts.service_class import WHOLE, limits
from portal.quotas import ledger

LENDS_NOTHING = (HostState.MAINTENANCE, HostState.FAILED)


@dataclass(frozen=True, slots=True)
class OverCommit:
    """vCPUs for each CPU: those of machines that exist, and the most by policy, of all and by service class where that
    has one of its own; how much of the CPUs is promised."""

    cluster: str
    hosts: int
    given: float
    most: float
    promised_percent: int
    class_ratios: Mapping[str, float] = field(default_factory=dict)


def sellable() -> dict[str, int]:
    """What may be claimed of all hosts that run machines, by their policy: vcpus, memory_mib, disk_gib."""
    lending = Host.objects.exclude(state__in=LENDS_NOTHING).filter(cpus__gt=0)
    capacities = [host.capacity for host in lending]
    names = ("vcpus", "memory_mib", "disk_gib")
    return {name: sum(each.get(name) or 0 for each in capacities) for name in names}


def of_cluster(cluster_id: UUID) -> OverCommit:
    return _of(list(Host.objects.filter(cluster_id=cluster_id).select_related("cluster")))


def of_each_cluster(cluster_ids: Iterable[UUID]) -> list[OverCommit]:
    """Those that have hosts. Two queries for any number."""
    by_cluster: dict[UUID, list[Host]] = {}
    for host in Host.objects.filter(cluster__in=list(cluster_ids)).select_related("cluster").order_by("cluster__slug"):
        by_cluster.setdefault(host.cluster_id, []).append(host)
    used = ledger.used_by_account(host.pk for hosts in by_cluster.values() for host in hosts)
    return [_of(hosts, used) for hosts in by_cluster.values()]


def _of(hosts: Sequence[Host], used: Mapping[UUID, Mapping[str, int]] | None = None) -> OverCommit:
    """Hosts that run nothing lend nothing."""
    lending = [host for host in hosts if host.state not in LENDS_NOTHING and host.cpus]
    claims = ledger.used_by_account(host.pk for host in lending) if used is None else used
    cpus = sum(host.cpus for host in lending)
    given = sum(claims.get(host.pk, {}).get("vcpus", 0) for host in lending)
    most = sum(host.capacity["vcpus"] or 0 for host in lending)
    floors = sum(_promised(claims.get(host.pk, {})) for host in lending)
    promisable = sum((limits(host)["cpu_floor"] or 0) + WHOLE * host.dedicated_cpus for host in lending)
    return OverCommit(
        cluster=hosts[0].cluster.name if hosts else "",
        hosts=len(lending),
        given=round(given / cpus, 2) if cpus else 0.0,
        most=round(most / cpus, 2) if cpus else 0.0,
        promised_percent=round(WHOLE * floors / promisable) if promisable else 0,
        class_ratios=hosts[0].cluster.class_ratios if hosts else {},
    )


def _promised(claims: Mapping[str, int]) -> int:
    return claims.get("cpu_floor", 0) + WHOLE * sum(name.startswith("cpu:") for name in claims)
