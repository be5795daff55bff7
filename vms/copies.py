"""Copies of images in the pools of hosts: who may stand on one, and when it may go.

A copy is a row from before its first byte is sent until after its file is gone. Whoever is about to stand on it has a
machine or a disk in the database already, and takes the row by `claim`; whoever removes it marks the row first
(`begin_eviction`), and only where nobody stands on it. So of the two, one sees the other.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from hosts.models import StoragePool
from portal.operations.workflow import TransientError
from vms.models import VM, Image, ImageCopy, Layer

_USE_IS_NOTED_EVERY = timedelta(minutes=10)


def claim(image: Image, pool: StoragePool) -> ImageCopy:
    """The row of the image's copy in that pool, in use from now on. TransientError while it is being removed."""
    now = timezone.now()
    defaults = {"size_bytes": image.size_bytes, "used_at": now}
    with transaction.atomic():
        rows = ImageCopy.objects.select_for_update(no_key=True)
        copy, _ = rows.get_or_create(pool=pool, sha256=image.sha256, defaults=defaults)
        if copy.evicting_at is not None:
            raise TransientError("the end of the removal of the image's file from the host")
        if now - copy.used_at > _USE_IS_NOTED_EVERY:
            ImageCopy.objects.filter(pk=copy.pk).update(used_at=now)
    return copy


def note_verified(copy: ImageCopy) -> None:
    ImageCopy.objects.filter(pk=copy.pk).update(verified_at=timezone.now())


def begin_eviction(copy: ImageCopy) -> bool:
    """Whether nobody stands on it, and so nobody will. In the caller's transaction."""
    rows = ImageCopy.objects.filter(pk=copy.pk, evicting_at=None)
    if not rows.update(evicting_at=timezone.now()):
        return False
    if is_used(copy):
        rows.model.objects.filter(pk=copy.pk).update(evicting_at=None)
        return False
    return True


def end_eviction(copy_id: UUID) -> None:
    """It stays after all."""
    ImageCopy.objects.filter(pk=copy_id).update(evicting_at=None)


def is_used(copy: ImageCopy) -> bool:
    """By a disk in that pool, or by a machine of the host that boots from it."""
    return bool(_users(copy.sha256, copy.pool))


def _users(sha256: str, pool: StoragePool) -> int:
    layers = Layer.objects.filter(pool=pool, image__sha256=sha256)
    of_host = VM.objects.unscoped("only counted").filter(host_id=pool.host_id, image__sha256=sha256)
    return layers.count() + of_host.filter(Q(image__source_format="iso") | Q(lifecycle="building")).count()
