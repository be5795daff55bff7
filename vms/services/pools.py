"""Which pool takes a disk: of the class that is asked for, where there is room for all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from uuid import UUID

from django.db.models import F, Sum

from hosts import placement, reach
from hosts.models import Host, StorageClass, StoragePool
from hosts.placement import NoCapacity, Wanted
from portal.core.errors import Invalid
from portal.operations.models import OperationHold
from portal.quotas import ledger
from vms.models import VM, Layer, Volume
from vms.wanted import clusters_of
from vms.workflows.image_publish import PUBLISH

_CHOOSE = "Choose a smaller size or another storage class, or try again later."


def storage_class(slug: str | None, field: str = "storage_class") -> StorageClass | None:
    """The one that is named; None where none is, for the hosts' default pools."""
    if not slug:
        return None
    found = StorageClass.objects.filter(is_active=True, slug=slug).first()
    if found is None:
        raise Invalid("There is no such storage class.", code="unknown_reference", field=field)
    return found


def pool_on(host: Host, wanted: StorageClass | None, gib: int, other_than: StoragePool | None = None) -> StoragePool:
    """A pool of the host's with room for `gib` more; of its default pool's class where none is wanted.

    The caller holds the host's account, so that nobody else counts meanwhile. Raises NoCapacity.
    """
    rows = StoragePool.objects.filter(host=host).select_related("storage_class", "host")
    if wanted is not None:
        rows = rows.filter(storage_class=wanted)
    usable = [pool for pool in rows if _takes(pool) and (other_than is None or pool.pk != other_than.pk)]
    if wanted is None:
        usable = [pool for pool in usable if pool.is_default]
    if not usable:
        raise NoCapacity("The host has no other storage of this class." if other_than else _none(wanted))
    promised = _promised(usable)
    fitting = [pool for pool in usable if _has_room(pool, promised[pool.pk] + gib)]
    if not fitting:
        raise NoCapacity(f"No storage of this class has {gib} GiB free. {_CHOOSE}", extra={"resource": "disk_gib"})
    return max(fitting, key=lambda pool: pool.capacity_gib - promised[pool.pk])


def hosts_with(wanted: StorageClass | None) -> frozenset[UUID] | None:
    """The hosts that have a pool of that class; None for all, where no class is wanted."""
    if wanted is None:
        return None
    return frozenset(StoragePool.objects.filter(storage_class=wanted, error="").values_list("host_id", flat=True))


def require_room(pool: StoragePool, gib: int) -> None:
    """For a disk that grows where it lies, or a new one. The caller holds the host's account. Raises NoCapacity."""
    if not _has_room(pool, _promised([pool])[pool.pk] + gib):
        raise NoCapacity(f"Its storage does not have {gib} GiB free. {_CHOOSE}", extra={"resource": "disk_gib"})


def require_room_beside(vm: VM, layers: Iterable[Layer]) -> None:
    """For new files beside the machine's own, each in its pool. Whoever counts the host's disks next waits.

    Raises NoCapacity.
    """
    hold(vm.host, vm.pk, vm.wanted)
    wanted: Counter[StoragePool] = Counter()
    for layer in layers:
        wanted[layer.pool] += layer.size_gib
    for pool, gib in wanted.items():
        require_room(pool, gib)


def place(volume: Volume, wanted: StorageClass | None) -> StoragePool:
    """Claim room for a volume of no machine, where its tenant's machines may be. Raises NoCapacity."""
    found: list[StoragePool] = []
    asked = Wanted(
        {"disk_gib": volume.size_gib},
        title=f"{volume.tenant.slug}/{volume.name}",
        clusters=clusters_of(volume.tenant_id),
        storage=hosts_with(wanted),
    )
    placement.place(volume.pk, asked, lambda host: found.append(pool_on(host, wanted, volume.size_gib)))
    return found[-1]


def claim(host: Host, holder_id: UUID, wanted: StorageClass | None, gib: int) -> StoragePool:
    """The same on one host."""
    hold(host, holder_id, {"disk_gib": gib})
    return pool_on(host, wanted, gib)


def hold(host: Host, holder_id: UUID, wanted: Mapping[str, int]) -> None:
    """What a holder takes of a host's disks from now on. Raises NoCapacity."""
    try:
        ledger.hold(host.pk, holder_id, wanted, host.capacity)
    except ledger.Exceeded as refusal:
        words = f"Its host does not have {refusal.extra['requested']} GiB of disk free. {_CHOOSE}"
        raise NoCapacity(words, extra=refusal.extra) from refusal


def _takes(pool: StoragePool) -> bool:
    return pool.takes_disks and not pool.error and (pool.is_ready or pool.is_default)


def _has_room(pool: StoragePool, gib: int) -> bool:
    """One that was not measured yet is as large as its host says."""
    return pool.checked_at is None or gib <= pool.capacity_gib


def _none(wanted: StorageClass | None) -> str:
    if wanted is None:
        return "No host has storage ready. Ask an administrator."
    return f"No host has storage of the class {wanted.name} ready. Choose another class."


def _promised(pools: list[StoragePool]) -> dict[UUID, int]:
    """GiB of each pool that disks may grow to, with those that are about to come there and copies under way.

    Of storage that hosts share, those of all of them.
    """
    counted, same = dict.fromkeys((pool.pk for pool in pools), 0), reach.aliases(pools)
    own = Volume.objects.unscoped("how full a pool is").filter(layer__pool__in=same).order_by()
    held = OperationHold.objects.filter(object_type="layer", is_active=True).values("object_id")
    coming = Layer.objects.filter(pool__in=same, volume=None, pk__in=held).order_by()
    for pool_id, gib in (
        *own.values_list("layer__pool").annotate(total=Sum("size_gib")),
        *coming.values_list(F("pool")).annotate(total=Sum("size_gib")),
        *_copied_to_publish(list(same)),
    ):
        counted[same[pool_id]] += gib
    return counted


def _copied_to_publish(pools: list[UUID]) -> list[tuple[UUID, int]]:
    """Pool and GiB of each copy that is to become an image: it lies beside the disk until it is brought home."""
    rows = OperationHold.objects.filter(object_type="layer", is_active=True, operation__kind=PUBLISH.kind)
    copied = list(rows.values_list("object_id", flat=True))  # one disk may be published twice at a time
    # the layer that a machine goes on with meanwhile is no such disk: it stands on one
    layers = Layer.objects.filter(pool__in=pools).exclude(parent__in=copied).in_bulk(copied)
    return [(layers[id].pool_id, layers[id].size_gib) for id in copied if id in layers]
