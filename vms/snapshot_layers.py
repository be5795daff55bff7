"""Which files nobody needs any more, and what a merge makes of the rows. Nothing here reaches a host.

A layer is spare when its snapshot has ended, or when it was frozen for something that is over, such as a clone. One on
which nothing stands goes; one on which one file alone stands becomes one with it; others stay.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Count

from vms.layers import has_others
from vms.models import VM, Layer, Power, Snapshot, SnapshotDisk, SnapshotState, Volume

ENDED = (SnapshotState.DELETING, SnapshotState.GONE)


@dataclass(frozen=True)
class Removal:
    """Nothing stands on the layer: its file goes."""

    layer: Layer


@dataclass(frozen=True)
class Joining:
    """One file alone stands on the layer: both become one. `target` is the disk in which the guest sees them."""

    layer: Layer
    child: Layer
    target: str


Work = Removal | Joining


def snapshots_of(vm_id: UUID) -> list[Snapshot]:
    return list(Snapshot.objects.unscoped("of a machine in hand").filter(vm_id=vm_id).prefetch_related("disks__layer"))


def spare_layers(vm: VM, states: Collection[str] = ENDED) -> list[tuple[Layer, str]]:
    """Of the machine, newest first, each with the disk that it belongs to. Operations that clear up hold these.

    By snapshots in these `states`. What a volume still writes to is to be left by an operation that has yet to begin.
    """
    ended = SnapshotDisk.objects.filter(snapshot__vm=vm, snapshot__state__in=states, layer__volume=None)
    found = {disk.layer: disk.volume.target for disk in ended.select_related("layer__pool", "volume")}
    for volume in vm.volumes.select_related("layer__pool", "layer__parent"):
        found |= {layer: volume.target for layer in _below(volume.layer) if _was_frozen_for_nothing(layer)}
    return sorted(found.items(), key=lambda each: each[0].created_at, reverse=True)


def next_work(vm: VM, states: Collection[str], passed_over: Collection[str] = ()) -> Work | None:
    """What can be done first, layers with the ids `passed_over` left out. None where nothing can be."""
    for layer, target in spare_layers(vm, states):
        if str(layer.pk) not in passed_over and (work := _work_on(vm, layer, target)):
            return work
    return None


def joinings(vm: VM, states: Collection[str]) -> list[Joining]:
    """All that may be under way, whether they could be begun now or not: something may stand on the child by now."""
    spare = spare_layers(vm, states)
    pairs = [(layer, target, list(layer.children.select_related("pool"))) for layer, target in spare]
    return [Joining(layer, children[0], target) for layer, target, children in pairs if len(children) == 1]


def machines_with_spare_layers() -> set[UUID]:
    """Those at which it is worth to look."""
    left = Snapshot.objects.unscoped("by the clock").filter(state=SnapshotState.GONE)
    found = set(left.values_list("vm_id", flat=True))
    frozen = Layer.objects.filter(volume=None, snapshot_disk=None).annotate(above=Count("children")).filter(above=1)
    for layer in frozen:
        above = [each.pk for each in _above(layer)]
        volumes = Volume.objects.unscoped("by the clock").filter(layer__in=above).exclude(vm=None)
        found.update(volumes.values_list("vm_id", flat=True))
    return found


def _work_on(vm: VM, layer: Layer, target: str) -> Work | None:
    children = list(layer.children.select_related("pool"))
    if not children:
        return Removal(layer)
    if len(children) > 1 or _is_anothers(vm, children[0]):
        return None
    is_busy_branch = vm.observed_power != Power.STOPPED and children[0].children.count() > 1
    return None if is_busy_branch else Joining(layer, children[0], target)


def _was_frozen_for_nothing(layer: Layer) -> bool:
    if hasattr(layer, "snapshot_disk") or hasattr(layer, "volume"):
        return False
    children = list(layer.children.all()[:2])
    return len(children) == 1 and not has_others(layer, children[0])


def _is_anothers(vm: VM, layer: Layer) -> bool:
    """Whether something stands on it that is not this machine's: a linked clone, which may run at any time."""
    above = [each.pk for each in _above(layer)]
    volumes = Volume.objects.unscoped("of layers in hand").filter(layer__in=above).exclude(vm=vm)
    return volumes.exists() or SnapshotDisk.objects.filter(layer__in=above).exclude(snapshot__vm=vm).exists()


def _above(layer: Layer) -> Iterator[Layer]:
    yield layer
    for child in layer.children.all():
        yield from _above(child)


def _below(layer: Layer) -> Iterator[Layer]:
    parent = layer.parent
    while parent is not None:
        yield parent
        parent = parent.parent


@transaction.atomic
def removed(work: Removal) -> None:
    """The file is gone."""
    SnapshotDisk.objects.filter(layer=work.layer).delete()
    work.layer.delete()


@transaction.atomic
def joined(work: Joining, kept: str) -> None:
    """One file of both is left: `kept`. What stood on the other one, or was it, is told so."""
    layer, child = Layer.objects.get(pk=work.layer.pk), Layer.objects.get(pk=work.child.pk)
    SnapshotDisk.objects.filter(layer=layer).delete()
    if kept == child.file_name:
        Layer.objects.filter(pk=child.pk).update(parent=layer.parent, image=layer.image)
        layer.delete()
        return
    Layer.objects.filter(pk=layer.pk).update(size_gib=child.size_gib)
    Layer.objects.filter(parent=child).update(parent=layer)
    Volume.objects.unscoped("of a layer in hand").filter(layer=child).update(layer=layer)
    SnapshotDisk.objects.filter(layer=child).update(layer=layer)
    child.delete()
