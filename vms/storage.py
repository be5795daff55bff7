"""Where what a machine has lies, and which other hosts reach it."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet

from hosts import reach
from hosts.models import StoragePool
from vms.models import VM, Snapshot


def pools_of(vm: VM) -> QuerySet[StoragePool]:
    """Those in which its disks lie, and its snapshots: a chain lies in one pool."""
    own = Q(layers__volume__vm=vm) | Q(layers__snapshot_disk__snapshot__vm=vm)
    memory = Snapshot.objects.unscoped("of one in hand").filter(vm=vm).values("memory_pool")
    return StoragePool.objects.filter(own | Q(pk__in=memory)).distinct()


def elsewhere(vm: VM) -> frozenset[UUID]:
    """The other hosts that reach all that it has; the one alone where a machine is that it shares files with."""
    pools = list(pools_of(vm))
    moved = {pool.host_id for pool in pools} - {vm.host_id}
    reaching = reach.hosts_reaching(pools) - {vm.host_id}
    return reaching & moved if moved else reaching
