"""Chains of files: which of them something needs, and which go with a machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from uuid import UUID

from django.db.models import Q

from hosts.models import StoragePool
from portal.operations.models import OperationHold
from vms.models import VM, Layer, Snapshot


def dying_with(vm: VM) -> list[Layer]:
    """The files that nothing needs once the machine and its snapshots are gone; those that stand on others come first.

    What volumes of data, clones of it or others' snapshots stand on stays.
    """
    own = [
        *Layer.objects.filter(volume__vm=vm, volume__is_boot=True),
        *Layer.objects.filter(snapshot_disk__snapshot__vm=vm),
    ]
    found = {layer.pk: layer for layer in chains(own)}
    while needed := [id for id, layer in found.items() if _is_needed(layer, {each.pk for each in own}, found.keys())]:
        for id in needed:
            del found[id]
    return sorted(found.values(), key=lambda layer: len(list(chains([layer]))), reverse=True)


def of_machine(vm: VM) -> list[Layer]:
    """All files that its disks and its snapshots stand on, each once."""
    own = Layer.objects.filter(Q(volume__vm=vm) | Q(snapshot_disk__snapshot__vm=vm)).select_related("pool")
    return list({layer.pk: layer for layer in chains(own)}.values())


def take_to(vm: VM, pools: Mapping[UUID, StoragePool]) -> None:
    """Its files are in another host's pools from now on: by the id of the pool that each is in, the same storage there.

    With all that they stand on, which may be others' too.
    """
    for layer in of_machine(vm):
        if (pool := pools.get(layer.pool_id)) is not None:
            Layer.objects.filter(pk=layer.pk).update(pool=pool)
    for id, pool in pools.items():
        Snapshot.objects.unscoped("of a machine in hand").filter(vm=vm, memory_pool=id).update(memory_pool=pool)


def read_below(layers: Iterable[Layer]) -> None:
    """Reads all that these stand on, so that `chains` asks for nothing: a query for each step of the longest one."""
    given = list(layers)
    known = {layer.pk: layer for layer in given}
    while missing := {layer.parent_id for layer in known.values() if layer.parent_id} - known.keys():
        known |= Layer.objects.select_related("pool").in_bulk(missing)
    for layer in (*given, *known.values()):
        if layer.parent_id is not None:
            layer.parent = known[layer.parent_id]


def chains(layers: Iterable[Layer]) -> Iterator[Layer]:
    """These, and all that they stand on."""
    for layer in layers:
        each: Layer | None = layer
        while each is not None:
            yield each
            each = each.parent


def _is_needed(layer: Layer, own: Iterable[UUID], dying: Iterable[UUID]) -> bool:
    """By a volume or a snapshot that is not the machine's own, or by a file that stays."""
    is_anothers = layer.pk not in own and (hasattr(layer, "volume") or hasattr(layer, "snapshot_disk"))
    return is_anothers or layer.children.exclude(pk__in=list(dying)).exists()


def has_others(layer: Layer, child: Layer | None = None) -> bool:
    """Whether any row but this child of it needs it, of whatever kind: a volume, a layer, a snapshot, a backup."""
    for relation in Layer._meta.related_objects:
        rows = relation.related_model._base_manager.filter(**{relation.field.name: layer})
        if child is not None and relation.related_model is Layer:
            rows = rows.exclude(pk=child.pk)
        if rows.exists():
            return True
    return False


def is_needed(layer: Layer) -> bool:
    """By a row, or by an operation; that is asked first, for what it held may be some row's once it has ended."""
    return OperationHold.objects.filter(object_id=layer.pk, is_active=True).exists() or has_others(layer)


def unneeded() -> list[Layer]:
    """Those that nothing stands on and that nothing refers to, oldest first."""
    of_nobody = {relation.name: None for relation in Layer._meta.related_objects}
    found = Layer.objects.filter(**of_nobody).select_related("pool__host", "parent__pool")
    held = OperationHold.objects.filter(is_active=True).values("object_id")
    return [layer for layer in found.exclude(pk__in=held) if not is_needed(layer)]


def fresh_on(layer: Layer, size_gib: int) -> Layer:
    """The row of one that a volume is to write to in place of `layer`, which then is frozen."""
    return Layer.objects.create(pool=layer.pool, parent=layer, size_gib=size_gib)


def depth_of(layer: Layer | None) -> int:
    """How many layers a read may have to look at."""
    depth = 0
    while layer is not None:
        depth, layer = depth + 1, layer.parent
    return depth
