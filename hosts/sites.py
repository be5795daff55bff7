"""The hosts as `hosts.choice` judges them: read anew, or as this process read them a moment ago."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from uuid import UUID

from hosts.choice import Site
from hosts.models import Cluster, Host, HostState, Spread
from portal.quotas import ledger

# What a failed host's machines need elsewhere; their disks are there already, or lost with it.
_RESERVED = ("vcpus", "memory_mib")
# Hosts whose capacity counts for the reserve: a failed or an empty one does not.
_IN_SERVICE = frozenset({HostState.ENABLED, HostState.CORDONED})

# Reading a thousand hosts takes longer than choosing one. So what was read serves this process for some seconds, where
# there are many: a claim looks at its host anew, and a refusal is only said after reading all again.
KNOWN_SECONDS = 3.0
ALWAYS_READ = 100


class Known:
    """All hosts as they were at one moment, and what this process has placed since; its threads share it."""

    def __init__(self, found: Iterable[Site], read_at: float) -> None:
        self._sites = {site.name: site for site in found}
        self._read_at = read_at
        self._lock = threading.Lock()

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self._read_at < KNOWN_SECONDS

    @property
    def sites(self) -> list[Site]:
        with self._lock:
            return list(self._sites.values())

    def take(self, site: Site, amounts: Mapping[str, int]) -> None:
        """Whoever chooses next knows of this claim. `site` may be as it was before claims of other threads."""
        with self._lock:
            self._sites[site.name] = self._sites[site.name].with_claim(amounts)


_known: dict[bool, Known] = {}


def known(uses_reserve: bool) -> Known | None:
    """What was read within the last seconds; None where nothing was, or there are too few hosts to keep it."""
    found = _known.get(uses_reserve)
    return found if found is not None and found.is_fresh else None


def read(uses_reserve: bool) -> Known:
    """All hosts as they are now."""
    begun = time.monotonic()
    found = sites(uses_reserve)
    kept = Known(found, begun)
    if len(found) > ALWAYS_READ:
        _known[uses_reserve] = kept
    return kept


def sites(uses_reserve: bool = False) -> list[Site]:
    """All hosts, in three queries."""
    hosts, clusters = list(Host.objects.defer("verdicts", "cpu_models")), Cluster.objects.in_bulk()
    for host in hosts:
        host.cluster = clusters[host.cluster_id]
    used = ledger.used_by_account(host.pk for host in hosts)
    shares = {} if uses_reserve else _shares(hosts)
    return [
        site_of(host, _claimable(host.capacity, shares.get(host.cluster_id, {})), used.get(host.pk, {}))
        for host in hosts
    ]


def site_of(host: Host, capacity: Mapping[str, int], used: Mapping[str, int]) -> Site:
    return Site(
        id=host.pk,
        name=host.name,
        cluster_id=host.cluster_id,
        state=host.state,
        is_packed=host.cluster.spread == Spread.PACK,
        is_ready=host.is_ready,
        is_unread=host.is_unknown,
        is_reachable=host.is_reachable,
        processor=host.accelerator,
        firmwares=frozenset(host.firmwares),
        labels=frozenset(host.labels),
        capacity=capacity,
        used=used,
    )


def limits_of(host: Host) -> dict[str, int]:
    """What may be claimed of it for machines that are not there because another host failed."""
    beside = Host.objects.filter(cluster=host.cluster_id).select_related("cluster") if _keeps_reserve(host) else ()
    return _claimable(host.capacity, _shares(beside).get(host.cluster_id, {}))


def _keeps_reserve(host: Host) -> bool:
    return bool(host.cluster.failure_reserve) and host.is_ready and host.state in _IN_SERVICE


def _shares(hosts: Iterable[Host]) -> Mapping[UUID, Mapping[str, float]]:
    """Of each cluster that keeps a reserve, the share of every host's capacity that new machines may have.

    So much is kept on each host that all together have room for what was on the largest ones. A share is held by each
    host's own account, so no two claims can break it together.
    """
    members: dict[UUID, list[Host]] = defaultdict(list)
    for host in hosts:
        if _keeps_reserve(host):
            members[host.cluster_id].append(host)
    return {id: {name: _share(own, name) for name in _RESERVED} for id, own in members.items()}


def _share(hosts: list[Host], resource: str) -> float:
    sizes = sorted((host.capacity[resource] or 0 for host in hosts), reverse=True)
    lost = sum(sizes[: hosts[0].cluster.failure_reserve])
    return 1 - lost / sum(sizes) if sum(sizes) else 0.0


def _claimable(capacity: Mapping[str, int | None], shares: Mapping[str, float]) -> dict[str, int]:
    return {name: int((amount or 0) * shares.get(name, 1.0)) for name, amount in capacity.items()}
