"""What machines and what belongs to them hold of the meters: what a tenant can use, and nothing before or after that.

What is being made costs nothing until it is there, and what is to be deleted nothing from the request on. In the bin
a machine costs what its disks and snapshots take.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, QuerySet

from portal.billing.metering import Holding, Key, Reader, follow, readers
from portal.billing.meters import Meter
from vms.models import VM, Backup, BackupState, Image, ImageState, Lifecycle, Power, Snapshot, SnapshotState, Volume

AT_ONCE = 500
Amounts = Mapping[Key, int]
_OFF = {Meter.VCPU: Meter.VCPU_OFF, Meter.MEMORY: Meter.MEMORY_OFF}


def of_vm(vm: Any) -> Holding:
    """A machine without its disks; `vm.addresses` is how many it has."""
    return Holding(vm.tenant_id, "vm", vm.pk, vm.name, _of_machine(vm, vm.addresses), vm.pk)


def _of_machine(vm: VM, addresses: int) -> Amounts:
    if vm.lifecycle != Lifecycle.READY:
        return {}
    is_on = vm.observed_power != Power.STOPPED and not vm.is_missing
    size = {Meter.VCPU: vm.vcpus, Meter.MEMORY: vm.memory_mib}
    held: dict[Key, int] = {
        (meter if is_on else _OFF[meter], vm.service_class): amount for meter, amount in size.items()
    }
    return {**held, (Meter.ADDRESS, ""): addresses} if addresses else held


def of_volume(volume: Volume) -> Holding:
    """The caller has its machine, and the class of its storage, at hand."""
    name = f"{volume.vm.name}: {volume.name}" if volume.is_boot and volume.vm else volume.name
    amounts = _of_disk(volume)
    return Holding(volume.tenant_id, "volume", volume.pk, name, amounts, volume.vm_id)


def _of_disk(volume: Volume) -> Amounts:
    grade = volume.layer.pool.storage_class.slug
    if volume.is_boot and volume.vm is not None:
        return _kept(volume.vm, Meter.DISK, grade, volume.size_gib)
    return {(Meter.DISK, grade): volume.size_gib} if volume.is_ready else {}


def of_snapshot(snapshot: Snapshot) -> Holding:
    """The caller has its machine at hand."""
    is_there = snapshot.state == SnapshotState.READY
    amounts = _kept(snapshot.vm, Meter.SNAPSHOT, "", snapshot.size_gib) if is_there else {}
    return Holding(snapshot.tenant_id, "snapshot", snapshot.pk, snapshot.name, amounts, snapshot.vm_id)


def _kept(vm: VM, meter: Meter, grade: str, gib: int) -> Amounts:
    """What lives and dies with a machine."""
    if vm.lifecycle == Lifecycle.READY:
        return {(meter, grade): gib}
    return {(Meter.BIN, ""): gib} if vm.is_binned else {}


def of_image(image: Image) -> Holding | None:
    """None of the provider's own."""
    if image.tenant_id is None:
        return None
    is_there = image.state == ImageState.READY
    amounts: Amounts = {(Meter.IMAGE, ""): image.wanted["image_mib"]} if is_there and image.size_bytes else {}
    return Holding(image.tenant_id, "image", image.pk, image.name, amounts)


def of_backup(backup: Backup) -> Holding:
    is_there = backup.state == BackupState.READY
    amounts: Amounts = {(Meter.BACKUP, ""): backup.size_mib} if is_there and backup.size_mib else {}
    return Holding(backup.tenant_id, "backup", backup.pk, str(backup), amounts, backup.source_id)


def _machines(ids: Collection[UUID]) -> Iterator[Holding]:
    """With their disks and snapshots, which cost by where their machine is in its life."""
    yield from map(of_vm, _vms().filter(pk__in=ids))
    yield from map(of_volume, _volumes().filter(vm__in=ids))
    yield from map(of_snapshot, _snapshots().filter(vm__in=ids))


def _vms() -> QuerySet[Any]:
    return VM.objects.unscoped("metering").annotate(addresses=Count("nics"))


def _volumes() -> QuerySet[Volume]:
    return Volume.objects.unscoped("metering").select_related("vm", "layer__pool__storage_class")


def _snapshots() -> QuerySet[Snapshot]:
    return Snapshot.objects.unscoped("metering").select_related("vm")


def _of_images(images: Iterable[Image]) -> Iterator[Holding]:
    return (holding for holding in map(of_image, images) if holding is not None)


def holdings() -> Iterator[Holding]:
    """Of everything that there is, in five queries."""
    yield from map(of_vm, _vms())
    yield from map(of_volume, _volumes())
    yield from map(of_snapshot, _snapshots())
    yield from _of_images(Image.objects.unscoped("metering"))
    yield from map(of_backup, Backup.objects.unscoped("metering"))


def follow_all() -> None:
    """Meter what there is and is not metered yet, such as what was made before there were meters."""
    for kind, model in {"vm": VM, "volume": Volume, "image": Image, "backup": Backup}.items():
        ids = list(model.objects.unscoped("metering").values_list("pk", flat=True))  # type: ignore[attr-defined]
        for first in range(0, len(ids), AT_ONCE):
            with transaction.atomic():
                follow(kind, ids[first : first + AT_ONCE])


readers["vm"] = Reader(_machines, with_parts=("volume", "snapshot"))
readers["volume"] = Reader(lambda ids: map(of_volume, _volumes().filter(pk__in=ids)))
readers["snapshot"] = Reader(lambda ids: map(of_snapshot, _snapshots().filter(pk__in=ids)))
readers["image"] = Reader(lambda ids: _of_images(Image.objects.unscoped("metering").filter(pk__in=ids)))
readers["backup"] = Reader(lambda ids: map(of_backup, Backup.objects.unscoped("metering").filter(pk__in=ids)))
