"""What is lost with a failed host that never comes back: what lies where no other host has seen it.

By the tokens of storage alone: that another host does not answer, or has lost its mount, says nothing of the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet

from hosts.models import Host, StoragePool
from vms.models import VM, Layer, Snapshot, SnapshotDisk, Volume

_WHY = "of a failed host"


@dataclass(frozen=True)
class Loss:
    """`machines` start from a disk in `pools`. `maimed` start from one that others see, and lose other disks."""

    pools: Sequence[StoragePool]
    machines: Sequence[VM]
    volumes: Sequence[Volume]
    maimed: Sequence[VM]


def of(host: Host) -> Loss:
    """As many queries for one machine as for all."""
    shared = set(_sharing(host).values_list("storage_id", flat=True))
    pools = [pool for pool in host.storage_pools.all() if pool.storage_id not in shared]
    there = list(VM.objects.unscoped(_WHY).filter(host=host).select_related("host").order_by("pk"))
    boots = Volume.objects.unscoped(_WHY).filter(vm__host=host, is_boot=True).exclude(layer__pool__in=pools)
    kept = set(boots.values_list("vm", flat=True))
    volumes = list(Volume.objects.unscoped(_WHY).filter(layer__pool__in=pools, is_boot=False))
    touched = {volume.vm_id for volume in volumes} | set(_with_snapshots_in(pools))
    return Loss(
        pools=pools,
        machines=[vm for vm in there if vm.pk not in kept],
        volumes=volumes,
        maimed=[vm for vm in there if vm.pk in kept & touched],
    )


def _with_snapshots_in(pools: Sequence[StoragePool]) -> Iterable[UUID]:
    disks = SnapshotDisk.objects.filter(layer__pool__in=pools).values_list("snapshot__vm", flat=True)
    memories = Snapshot.objects.unscoped(_WHY).filter(memory_pool__in=pools).values_list("vm", flat=True)
    return [*disks, *memories]


def unseen(host: Host) -> StoragePool | None:
    """A pool of another host that shares storage on which something of this one lies, where none sees it now."""
    memories = Snapshot.objects.unscoped(_WHY).exclude(memory_pool=None).values("memory_pool")
    used = host.storage_pools.filter(Q(pk__in=Layer.objects.values("pool")) | Q(pk__in=memories))
    sharing = list(_sharing(host).select_related("host").order_by("host__name"))
    for pool in used:
        others = [other for other in sharing if other.storage_id == pool.storage_id]
        if others and not any(_is_seen(other) for other in others):
            return others[0]
    return None


def _is_seen(pool: StoragePool) -> bool:
    return not pool.error and pool.host.is_reachable and not pool.host.has_failed


def _sharing(host: Host) -> QuerySet[StoragePool]:
    """Pools of other hosts with a token of one of this host's, under whichever name or path."""
    tokens = host.storage_pools.exclude(storage_id="").values("storage_id")
    return StoragePool.objects.filter(storage_id__in=tokens).exclude(host=host)
