"""Where what a machine has lies, and which other hosts reach it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from django.db.models import Q, QuerySet

from hosts import reach
from hosts.models import Host, StoragePool
from vms.models import VM, Layer, Snapshot


def pools_of(vm: VM) -> QuerySet[StoragePool]:
    """Those in which its disks lie, and its snapshots: a chain lies in one pool."""
    own = Q(layers__volume__vm=vm) | Q(layers__snapshot_disk__snapshot__vm=vm)
    memory = Snapshot.objects.unscoped("of one in hand").filter(vm=vm).values("memory_pool")
    return StoragePool.objects.filter(own | Q(pk__in=memory)).distinct()


def elsewhere_of(vms: Sequence[VM]) -> Mapping[UUID, frozenset[UUID]]:
    """By machine, each with its host: the others of its cluster that reach all that it has, and so can take it over.

    The one alone where a machine is that it shares files with. As many queries for one as for all.
    """
    own = _pools_by_machine(vms)
    pools = StoragePool.objects.in_bulk({id for ids in own.values() for id in ids})
    reaching = reach.hosts_of_each(pools.values())
    clusters = dict(Host.objects.filter(cluster__in={vm.host.cluster_id for vm in vms}).values_list("pk", "cluster_id"))
    found: dict[UUID, frozenset[UUID]] = {}
    for vm in vms:
        others = {id for id, cluster_id in clusters.items() if cluster_id == vm.host.cluster_id} - {vm.host_id}
        moved = {pools[id].host_id for id in own[vm.pk]} - {vm.host_id}
        those = [reaching[id] for id in own[vm.pk]]
        found[vm.pk] = frozenset.intersection(frozenset(moved or others), others, *those) if those else frozenset()
    return found


def _pools_by_machine(vms: Iterable[VM]) -> Mapping[UUID, set[UUID]]:
    ids = [vm.pk for vm in vms]
    snapshots = Snapshot.objects.unscoped("of those in hand").filter(vm__in=ids).exclude(memory_pool=None)
    found: dict[UUID, set[UUID]] = defaultdict(set)
    for vm_id, pool_id in (
        *Layer.objects.filter(volume__vm__in=ids).values_list("volume__vm", "pool"),
        *Layer.objects.filter(snapshot_disk__snapshot__vm__in=ids).values_list("snapshot_disk__snapshot__vm", "pool"),
        *snapshots.values_list("vm", "memory_pool"),
    ):
        found[vm_id].add(pool_id)
    return found
