"""Which files of deleted snapshots can go, and what a merge makes of the rows. Nothing here reaches a host."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from vms.models import VM, Layer, Power, Snapshot, SnapshotDisk, SnapshotState, Volume

ENDED = (SnapshotState.DELETING, SnapshotState.GONE)


@dataclass(frozen=True)
class Removal:
    """Nothing stands on the layer: its file goes."""

    disk: SnapshotDisk


@dataclass(frozen=True)
class Joining:
    """One file alone stands on the layer: both become one."""

    disk: SnapshotDisk
    child: Layer


Work = Removal | Joining


def snapshots_of(vm_id: UUID) -> list[Snapshot]:
    return list(Snapshot.objects.unscoped("of a machine in hand").filter(vm_id=vm_id).prefetch_related("disks__layer"))


def ended_layers(vm: VM) -> list[Layer]:
    """What operations that clear up after them hold."""
    return list(Layer.objects.filter(snapshot_disk__snapshot__vm=vm, snapshot_disk__snapshot__state__in=ENDED))


def next_work(vm: VM, passed_over: Collection[int] = ()) -> Work | None:
    """What can be done first about the data of snapshots that have ended, those passed over left out.

    None where nothing can be: the rest stays as long as others stand on it.
    """
    rows = SnapshotDisk.objects.filter(snapshot__vm=vm, snapshot__state__in=ENDED).exclude(pk__in=passed_over)
    for disk in rows.select_related("layer__pool", "volume", "snapshot").order_by("-layer__created_at"):
        if work := _work_on(vm, disk):
            return work
    return None


def _work_on(vm: VM, disk: SnapshotDisk) -> Work | None:
    children = list(disk.layer.children.select_related("pool"))
    if not children:
        return None if Volume.objects.unscoped("its layer").filter(layer=disk.layer).exists() else Removal(disk)
    if len(children) > 1 or _is_anothers(vm, children[0]):
        return None
    is_busy_branch = vm.observed_power != Power.STOPPED and children[0].children.count() > 1
    return None if is_busy_branch else Joining(disk, children[0])


def _is_anothers(vm: VM, layer: Layer) -> bool:
    """Whether something stands on it that is not this machine's: a linked clone, which may run at any time."""
    above = [each.pk for each in _above(layer)]
    volumes = Volume.objects.unscoped("of layers in hand").filter(layer__in=above).exclude(vm=vm)
    return volumes.exists() or SnapshotDisk.objects.filter(layer__in=above).exclude(snapshot__vm=vm).exists()


def _above(layer: Layer) -> Iterator[Layer]:
    yield layer
    for child in layer.children.all():
        yield from _above(child)


@transaction.atomic
def removed(work: Removal) -> None:
    """The file is gone."""
    layer = work.disk.layer
    work.disk.delete()
    layer.delete()


@transaction.atomic
def joined(work: Joining, kept: str) -> None:
    """One file of both is left: `kept`. What stood on the other one, or was it, is told so."""
    layer, child = Layer.objects.get(pk=work.disk.layer_id), Layer.objects.get(pk=work.child.pk)
    work.disk.delete()
    if kept == child.file_name:
        Layer.objects.filter(pk=child.pk).update(parent=layer.parent, image=layer.image)
        layer.delete()
        return
    Layer.objects.filter(pk=layer.pk).update(size_gib=child.size_gib)
    Layer.objects.filter(parent=child).update(parent=layer)
    Volume.objects.unscoped("of a layer in hand").filter(layer=child).update(layer=layer)
    SnapshotDisk.objects.filter(layer=child).update(layer=layer)
    child.delete()
