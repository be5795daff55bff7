"""Volumes as pages show them: plain values, decided once, whoever renders them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse

from hosts.models import StorageClass
from portal.core.units import THIN_SPACE
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from vms import volume_selectors as selectors
from vms.models import Volume
from vms.states import Verdict
from vms.volume_states import VolumeAction

_LOOKS = {"attached": "running", "available": "stopped"}
_DOING = {"volume.grow": "growing", "volume.move": "moving"}


@dataclass(frozen=True)
class VolumeRow:
    """`limits` are words, "" where there are none; `attention` is for one whose operation is stuck."""

    id: UUID
    name: str
    url: str
    word: str
    look: str
    operation_url: str
    size: str
    storage_class: str
    limits: str
    is_boot: bool
    vm_name: str
    vm_url: str
    target: str
    created_at: datetime


@dataclass(frozen=True)
class VolumePage(VolumeRow):
    topic: str
    header_url: str
    slug: str
    size_gib: int
    device: str
    can: Mapping[str, Verdict]


def rows(actor: Actor, volumes: Iterable[Volume], slug: str) -> list[VolumeRow]:
    volumes = list(volumes)
    working = selectors.busy_with(volumes)
    return [VolumeRow(**_fields(volume, working.get(volume.pk), slug)) for volume in volumes]


def page(actor: Actor, volume: Volume, operation: Operation | None) -> VolumePage:
    slug, own = volume.tenant.slug, [volume.tenant.slug, volume.pk]
    has_snapshots = volume.pk in selectors.with_snapshots([volume])
    verdicts = selectors.actions(actor, volume, operation, has_snapshots=has_snapshots)
    return VolumePage(
        **_fields(volume, operation, slug),
        topic=f"volume:{volume.pk}{f' vm:{volume.vm_id}' if volume.vm_id else ''}",
        header_url=reverse("volume-header", args=own),
        slug=slug,
        size_gib=volume.size_gib,
        device=f"/dev/disk/by-id/virtio-{volume.serial}",
        can={action.value: verdicts[action] for action in VolumeAction},
    )


def _fields(volume: Volume, operation: Operation | None, slug: str) -> dict[str, Any]:
    word, look = _status(volume, operation)
    found = volume.layer.pool.storage_class
    return {
        "id": volume.pk,
        "name": volume.name,
        "url": reverse("volume-detail", args=[slug, volume.pk]),
        "word": word,
        "look": look,
        "operation_url": reverse("operation-detail", args=[operation.pk]) if operation else "",
        "size": f"{volume.size_gib}{THIN_SPACE}GiB",
        "storage_class": found.name,
        "limits": limits_of(found),
        "is_boot": volume.is_boot,
        "vm_name": volume.vm.name if volume.vm else "",
        "vm_url": reverse("vm-disks", args=[slug, volume.vm.pk]) if volume.vm else "",
        "target": volume.target,
        "created_at": volume.created_at,
    }


def _status(volume: Volume, operation: Operation | None) -> tuple[str, str]:
    """Its word and look. What works on its machine and not on it is no news of the volume."""
    word = selectors.status_of(volume, operation)
    if operation is None or operation.target_id != volume.pk:
        return word, _LOOKS.get(word, "working")
    return _DOING.get(operation.kind, word), "attention" if operation.needs_attention else "working"


def limits_of(storage_class: StorageClass) -> str:
    """`500 reads/s, 20 MiB/s written`; "" where there are none."""
    words = (
        (storage_class.read_iops, "reads/s"),
        (storage_class.write_iops, "writes/s"),
        (storage_class.read_mib_s, f"{THIN_SPACE}MiB/s read"),
        (storage_class.write_mib_s, f"{THIN_SPACE}MiB/s written"),
    )
    return ", ".join(f"{value}{'' if unit[0] == THIN_SPACE else ' '}{unit}" for value, unit in words if value)


def class_choices(classes: Iterable[StorageClass], *, without: StorageClass | None = None) -> list[tuple[str, str]]:
    """For a select: what each is held to beside its name."""
    return [
        (found.slug, f"{found.name} ({limits})" if (limits := limits_of(found)) else found.name)
        for found in classes
        if without is None or found.pk != without.pk
    ]
