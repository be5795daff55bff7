"""Copies of images in the pools of hosts: who may stand on one, and when it may go.

A copy is a row from before its first byte is sent until after its file is gone. Whoever is about to stand on it has a
machine or a disk in the database already, and takes the row by `claim`; whoever removes it marks the row first
(`begin_eviction`), and only where nobody stands on it. So of the two, one sees the other. Hosts that share storage have
a row each for one file there: it is in use where one of them uses it, and goes with all of its rows.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from hosts.models import StoragePool
from hosts.reach import same_storage
from portal.operations.workflow import TransientError
from vms.models import VM, Image, ImageCopy, Layer

_USE_IS_NOTED_EVERY = timedelta(minutes=10)


def same_file(copy: ImageCopy) -> QuerySet[ImageCopy]:
    """Its row, and those of other hosts that see the same file in storage which they share."""
    return ImageCopy.objects.filter(sha256=copy.sha256, pool__in=same_storage(copy.pool))


def claim(image: Image, pool: StoragePool) -> ImageCopy:
    """The row of the image's copy in that pool, in use from now on. TransientError while it is being removed."""
    now = timezone.now()
    defaults = {"size_bytes": image.size_bytes, "used_at": now}
    with transaction.atomic():
        copy, _ = ImageCopy.objects.get_or_create(pool=pool, sha256=image.sha256, defaults=defaults)
        if any(each.evicting_at is not None for each in _locked(copy)):
            raise TransientError("the end of the removal of the image's file from the host")
        if now - copy.used_at > _USE_IS_NOTED_EVERY:
            ImageCopy.objects.filter(pk=copy.pk).update(used_at=now)
    return copy


def note_verified(copy: ImageCopy) -> None:
    ImageCopy.objects.filter(pk=copy.pk).update(verified_at=timezone.now())


def begin_eviction(copy: ImageCopy) -> bool:
    """Whether nobody stands on it, and so nobody will. In the caller's transaction."""
    there = _locked(copy)
    is_free = copy in there and all(each.evicting_at is None for each in there)
    if not is_free:
        return False
    same_file(copy).update(evicting_at=timezone.now())
    if is_used(copy):
        same_file(copy).update(evicting_at=None)
        return False
    return True


def end_eviction(copy_id: UUID) -> None:
    """It stays after all."""
    for copy in ImageCopy.objects.filter(pk=copy_id):
        same_file(copy).update(evicting_at=None)


def forget(copy_id: UUID) -> None:
    """Its file is gone."""
    for copy in ImageCopy.objects.filter(pk=copy_id):
        same_file(copy).delete()


def is_used(copy: ImageCopy) -> bool:
    """By a disk in that storage, or by a machine that boots from it on a host which sees it."""
    pools = same_storage(copy.pool)
    layers = Layer.objects.filter(pool__in=pools, image__sha256=copy.sha256)
    machines = VM.objects.unscoped("only counted").filter(image__sha256=copy.sha256, host__in=pools.values("host"))
    return layers.exists() or machines.filter(Q(image__source_format="iso") | Q(lifecycle="building")).exists()


def _locked(copy: ImageCopy) -> list[ImageCopy]:
    """Whoever else is about to stand on the file, or to remove it, waits until the transaction ends."""
    return list(same_file(copy).select_for_update(no_key=True).order_by("pk"))
