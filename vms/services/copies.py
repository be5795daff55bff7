"""Removing copies of images from hosts, where nobody has used them for a while."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from hosts.services.locks import lock_host
from portal.core.errors import Conflict, NotFound
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.tenancy.gate import SYSTEM, Actor
from portal.tenancy.roles import Permission
from vms import copies
from vms.models import ImageCopy
from vms.workflows.image_evict import EVICT

MOST_AT_ONCE = 50
ABANDONED_AFTER = timedelta(hours=1)


@transaction.atomic
def evict_copy(*, actor: Actor, copy: ImageCopy) -> Operation:
    """Remove the file from its pool. Conflict ("in_use") where a disk or a machine stands on it."""
    actor.require(Permission.HOST_WRITE)
    host = copy.pool.host
    lock_host(host)
    if not copies.begin_eviction(copy):
        raise Conflict("Disks or machines of this host stand on it, or it is being removed already.", code="in_use")
    title = f"Remove {copy.file_name} from {host.name}"
    return operations.submit(EVICT, actor=actor, target=copy, title=title, lane=host.pk)


def evict_unused() -> None:
    """Those that nobody has used for BERTH_IMAGE_CACHE_DAYS and nobody stands on."""
    _free_abandoned()
    since = timezone.now() - timedelta(days=settings.IMAGE_CACHE_DAYS)
    stale = (
        ImageCopy.objects.filter(used_at__lt=since, evicting_at=None).select_related("pool__host").order_by("used_at")
    )
    unused = [copy for copy in stale.iterator() if not _is_used_since(copy, since)]
    for copy in unused[:MOST_AT_ONCE]:
        try:
            evict_copy(actor=SYSTEM, copy=copy)
        except (Conflict, NotFound):  # somebody was faster
            continue


def _is_used_since(copy: ImageCopy, since: datetime) -> bool:
    """Also by another host that sees the same file."""
    return copies.same_file(copy).filter(used_at__gte=since).exists() or copies.is_used(copy)


def _free_abandoned() -> None:
    """What an image's deletion began to remove and never did, for it was given up, may be used again."""
    for copy in ImageCopy.objects.filter(evicting_at__lt=timezone.now() - ABANDONED_AFTER):
        if operations.active_on("imagecopy", copy.pk) is None:
            copies.end_eviction(copy.pk)
