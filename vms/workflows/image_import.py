"""Import: a file from outside becomes an image. It is received, inspected, converted, and put into the store."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from portal.core.outbound import ours
from portal.core.outbound.addresses import Policy
from portal.core.outbound.refusal import Refused
from portal.core.units import GIB, size
from portal.operations.lease import LeaseLost, held
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, StepFailed, Workflow, register
from portal.quotas import ledger
from portal.quotas import services as quotas
from portal.quotas.blocks import BudgetExceeded
from portal.quotas.models import Quota
from portal.tenancy.roles import Permission
from vms import image_store, intake
from vms.imaging import inspect, jail, qemu
from vms.imaging.fetch import Bounds, fetch
from vms.imaging.formats import Format
from vms.models import Image, ImageState

# Imports share a lane, as what works on one host does: however many there are, workers are left for machines.
LANE = UUID("1a6e0000-0000-7000-8000-000000000001")
TELL_EVERY_SECONDS = 0.25
SLACK_BYTES = 4 * 1024 * 1024  # that a conversion may take beyond what was measured


def receive(context: StepContext) -> Output:
    """An upload is there already; a URL is fetched, from its beginning where an earlier try was cut off."""
    image = image_of(context.operation)
    url, source = context.params["url"], intake.source(image.pk)
    if source.exists():
        return None
    if not url:
        raise StepFailed("upload_lost", "What was sent is no longer there. Send it again.")
    intake.prepare(image.pk)
    fetch(
        url,
        intake.fetching(image.pk),
        _policy(),
        Bounds(settings.IMAGE_MOST_BYTES),
        progress=_with_room(_seldom(context)),
        on_size=lambda bytes_: _make_room(context, image, bytes_),
    )
    context.check()
    os.replace(intake.fetching(image.pk), source)
    return None


def _make_room(context: StepContext, image: Image, size_bytes: int) -> None:
    """In the quota, and beside what the portal itself lives on."""
    intake.require_space(size_bytes)
    hold(context, image, size_bytes)


def _with_room(progress: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """Ends a fetch when the portal's storage is too full to live on, whatever the server had said."""
    looked_at = 0

    def moved(done_bytes: int, total_bytes: int) -> None:
        nonlocal looked_at
        if done_bytes - looked_at > intake.LOOK_EVERY_BYTES:
            intake.require_space(0)
            looked_at = done_bytes
        progress(done_bytes, total_bytes)

    return moved


def discard(context: StepContext) -> None:
    intake.remove(context.operation.target_id)


def look(context: StepContext) -> Output:
    """Nothing is converted, and nothing kept, before the file has shown what it is and how large it becomes."""
    image = image_of(context.operation)
    source = intake.source(image.pk)
    if intake.clean(image.pk).exists() or image.sha256:  # an earlier run went further
        return None
    total, report = source.stat().st_size, _seldom(context)
    jail.give(intake.directory(image.pk), source)
    found = inspect.inspect(
        source,
        Format(image.source_format),
        settings.IMAGE_MOST_DISK_BYTES,
        progress=lambda done: report(done, total),
    )
    wanted = context.params["sha256"]
    if wanted and wanted != found.sha256:
        raise StepFailed("checksum_mismatch", "The file has another SHA-256 than was said.")
    _require_usable(image, found.virtual_size)
    hold(context, image, found.needed_bytes)
    return {"needed_bytes": found.needed_bytes, "virtual_size_bytes": found.virtual_size}


def convert(context: StepContext) -> Output:
    image, needed = image_of(context.operation), context.outputs["needed_bytes"]
    source, target = intake.source(image.pk), intake.converting(image.pk, context.fence)
    if intake.clean(image.pk).exists() or image.sha256:
        return None
    for left in intake.directory(image.pk).glob("converting-*"):
        left.unlink()
    intake.require_space(needed)
    jail.give(intake.directory(image.pk), source)
    report = _seldom(context)
    qemu.convert(
        source,
        Format(image.source_format),
        target,
        needed + SLACK_BYTES,
        progress=lambda fraction: report(round(needed * fraction), needed),
    )
    inspect.require_clean(target)
    context.check()
    os.replace(target, intake.clean(image.pk))
    return None


def store(context: StepContext) -> Output:
    """The name of the file is its checksum; the row names it before it is there, so that nobody removes it."""
    image, clean = image_of(context.operation), intake.clean(context.operation.target_id)
    if clean.exists():
        total, report = clean.stat().st_size, _seldom(context)
        image.sha256 = image_store.sha256(clean, lambda done: report(done, total))
        with image_store.locked():
            _write(context, image, sha256=image.sha256)
            image_store.take(clean, image)
    return {"sha256": image.sha256, "size_bytes": image_store.path(image).stat().st_size}


def take_back(context: StepContext) -> None:
    image = image_of(context.operation)
    with image_store.locked():
        _write(context, image, sha256="")
        image_store.remove(image)


def settle(operation: Operation, outputs: Mapping[str, Any]) -> None:
    image = image_of(operation)
    image.state = ImageState.READY
    image.sha256, image.size_bytes = outputs["sha256"], outputs["size_bytes"]
    image.virtual_size_bytes = outputs["virtual_size_bytes"]
    if image.source_format != Format.ISO:
        image.min_disk_gib = max(image.min_disk_gib, -(-image.virtual_size_bytes // GIB))
    image.save(update_fields=["state", "sha256", "size_bytes", "virtual_size_bytes", "min_disk_gib"])
    if image.tenant_id is not None:
        ledger.hold(image.tenant_id, image.pk, image.wanted, {})
    transaction.on_commit(lambda: intake.remove(image.pk), robust=True)


def forget(operation: Operation) -> None:
    """Nothing of it is left, so it is no image; the operation keeps the story."""
    ledger.release(operation.target_id)
    Image.objects.unscoped("workflow").filter(pk=operation.target_id).delete()


def translate(error: Exception) -> Exception | None:
    if isinstance(error, Refused):
        return StepFailed(error.code, error.detail)
    if isinstance(error, ledger.Exceeded | BudgetExceeded | intake.NoSpace):
        return StepFailed(error.code, error.detail)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StepFailed("no_space", "The storage of the portal is full.")
    return None


def _seldom(context: StepContext) -> Callable[[int, int], None]:
    """`context.moved` at most four times a second: each call asks the database whether it was cancelled."""
    told_at = 0.0

    def moved(done_bytes: int, total_bytes: int) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= TELL_EVERY_SECONDS:
            context.moved(done_bytes, total_bytes)
            told_at = time.monotonic()

    return moved


def image_of(operation: Operation) -> Image:
    return Image.objects.unscoped("workflow").select_related("tenant").get(pk=operation.target_id)


def _policy() -> Policy:
    return Policy(settings.IMAGE_URL_HTTP, frozenset(settings.IMAGE_URL_ALLOW), ours.all_of_ours())


@transaction.atomic
def _write(context: StepContext, image: Image, **fields: Any) -> None:
    """Change the row, unless another worker has the operation by now, or takes it over meanwhile: it waits for this."""
    operation = context.operation
    rows = Operation.objects.unscoped("engine").filter(held(operation))
    if not rows.update(lease_owner=operation.lease_owner):
        raise LeaseLost(str(operation.pk))
    Image.objects.unscoped("workflow").filter(pk=image.pk).update(**fields)


@transaction.atomic
def hold(context: StepContext, image: Image, bytes_: int) -> None:
    """What it may become counts against the quota before it is written."""
    _write(context, image, size_bytes=max(bytes_, 1))
    image.size_bytes = max(bytes_, 1)
    if image.tenant is not None:
        quotas.hold(image.tenant, image.pk, image.wanted)


def _require_usable(image: Image, virtual_size: int) -> None:
    """No machine of the tenant's could have a disk that is larger than all its disks may be."""
    limit = Quota.objects.get(tenant=image.tenant).disk_gib if image.tenant else None
    if limit is not None and image.source_format != Format.ISO and virtual_size > limit * GIB:
        words = f"The disk in the image has {size(virtual_size)}; the quota of the tenant is {limit} GiB for all disks."
        raise StepFailed("quota_exceeded", words)


IMPORT = register(
    Workflow(
        kind="image.import",
        doing="importing",
        done="imported",
        permission=Permission.IMAGE_WRITE,
        steps=(
            Step("receive", "Receiving the file", receive, undo=discard, weight=4),
            Step("inspect", "Inspecting it", look, weight=2),
            Step("convert", "Converting it", convert, weight=4),
            Step("store", "Putting it into the store", store, undo=take_back, weight=2),
        ),
        succeeded=settle,
        unwound=forget,
        translate=translate,
        deadline=timedelta(hours=24),
    )
)
