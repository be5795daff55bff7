"""Bringing an image: a file piece by piece, or a URL. What becomes of it is for vms.workflows.image_import."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from io import FileIO
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.text import slugify

from portal.core import text
from portal.core.errors import Conflict, Invalid
from portal.core.ids import uuid7
from portal.core.outbound.addresses import Policy, target_of
from portal.core.outbound.refusal import Refused
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.quotas import ledger
from portal.quotas import services as quotas
from portal.tenancy import gate
from portal.tenancy.gate import SYSTEM, Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from vms import image_properties, image_store, intake
from vms.models import Image, ImageFormat, ImageState, ImageUpload
from vms.models.catalogue import image_amounts
from vms.services.create import resolve_tenant
from vms.workflows.image_import import IMPORT, LANE

MIB = 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAMES_TRIED = 20
MOST_OPEN = 20  # of one tenant


@dataclass(frozen=True)
class NewImage:
    """What an image is to be. `tenant` by slug or id, None for one's only one; `slug` "" is made from the name.

    `properties` are fields of Image that its owner may set.
    """

    name: str
    format: str
    tenant: str | None = None
    slug: str = ""
    sha256: str = ""
    properties: dict[str, Any] = field(default_factory=dict)


@transaction.atomic
def begin(*, actor: Actor, request: NewImage, size_bytes: int, field: str = "size_bytes") -> ImageUpload:
    """A place for a file of that size; it counts against the quota from now on.

    Raises Invalid at the field, Forbidden, Exceeded (quota), Conflict (name taken), NoSpace.
    """
    tenant = resolve_tenant(actor, request.tenant, Permission.IMAGE_WRITE)
    _check(request, tenant)
    if not 0 < size_bytes <= settings.IMAGE_MOST_BYTES:
        raise Invalid(f"A file may have 1 byte to {settings.IMAGE_MOST_BYTES // 1024**3} GiB.", field=field)
    intake.require_space(size_bytes)
    _require_few(tenant)
    upload = ImageUpload(
        tenant=tenant,
        name=text.label(request.name),
        slug=request.slug,
        format=request.format,
        size_bytes=size_bytes,
        sha256=request.sha256.lower(),
        properties=request.properties,
        created_by=actor.label,
        expires_at=_expiry(),
    )
    quotas.hold(tenant, upload.pk, upload.wanted, field=field)
    upload.save(force_insert=True)
    log.record("upload.begun", actor=actor, target=upload, after={"size_bytes": size_bytes, "format": upload.format})
    return upload


@contextmanager
def appending(
    *, actor: Actor, upload_id: UUID, offset: int, length: int | None = None
) -> Iterator[Callable[[bytes], None]]:
    """Gives what appends a piece to the upload. What was appended stays, however the block ends.

    Conflict where `offset` is not the end of what is there ("upload_offset_mismatch"), somebody else is writing, or the
    upload has ended; Invalid where more comes than was announced.
    """
    upload = unfinished(actor, upload_id)
    with intake.writing(upload.pk) as file:
        there = file.tell()
        if offset != there:
            words = f"{there} bytes are there; go on from there."
            raise Conflict(words, code="upload_offset_mismatch", extra={"offset": there})
        if length is not None and offset + length > upload.size_bytes:
            raise _too_long(upload)
        try:
            yield _Appender(file, upload)
        finally:
            rows = ImageUpload.objects.unscoped("fetched through the gate").filter(pk=upload.pk)
            rows.update(expires_at=_expiry())


class _Appender:
    def __init__(self, file: FileIO, upload: ImageUpload) -> None:
        self._file = file
        self._upload = upload
        self._at = self._looked_at = file.tell()

    def __call__(self, piece: bytes) -> None:
        if self._at + len(piece) > self._upload.size_bytes:
            raise _too_long(self._upload)
        self._write(memoryview(piece))
        if self._at - self._looked_at > intake.LOOK_EVERY_BYTES:
            intake.require_space(0)
            self._looked_at = self._at

    def _write(self, rest: memoryview) -> None:
        try:
            while rest:
                count = self._file.write(rest)
                self._at += count
                rest = rest[count:]
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise intake.NoSpace("The portal's storage is full. Ask an administrator, then go on.") from error
            raise


@transaction.atomic
def cut(*, upload: ImageUpload) -> None:
    """The file is as long as what came, which is less than was announced."""
    upload.size_bytes = max(intake.received(upload.pk), 1)
    upload.save(update_fields=["size_bytes"])
    ledger.hold(upload.tenant_id, upload.pk, upload.wanted, {})


@transaction.atomic
def finish(*, actor: Actor, upload_id: UUID) -> tuple[Image, Operation]:
    """All of it is there: make an image of it. Conflict where some is missing, or it was finished before."""
    upload = unfinished(actor, upload_id)
    if (there := intake.received(upload.pk)) != upload.size_bytes:
        words = f"{there} of {upload.size_bytes} bytes are there; send the rest first."
        raise Conflict(words, code="upload_incomplete", extra={"offset": there})
    rows = ImageUpload.objects.unscoped("fetched through the gate").filter(pk=upload.pk, finished_at=None)
    if not rows.update(finished_at=timezone.now()):
        raise _finished(upload)
    request = NewImage(upload.name, upload.format, None, upload.slug, upload.sha256, upload.properties)
    image = pending_image(upload.pk, upload.tenant, request, upload.size_bytes, upload.created_by)
    rows.model.objects.unscoped("fetched through the gate").filter(pk=upload.pk).update(image=image)
    return image, _submit(actor, image, upload.sha256, url="")


@transaction.atomic
def import_url(*, actor: Actor, request: NewImage, url: str) -> tuple[Image, Operation]:
    """Fetch an image from a public server. Raises as `begin`, and Invalid at `url` ("url_not_allowed")."""
    tenant = resolve_tenant(actor, request.tenant, Permission.IMAGE_WRITE)
    _check(request, tenant)
    try:
        target_of(url, Policy(http=settings.IMAGE_URL_HTTP, allowed=frozenset(settings.IMAGE_URL_ALLOW)))
    except Refused as refusal:
        raise Invalid(refusal.detail, code=refusal.code, field="url") from refusal
    intake.require_space(0)
    _require_few_imports(tenant)
    id, least = uuid7(), 1  # until the server says how large it is
    quotas.hold(tenant, id, image_amounts(least), field="url")
    image = pending_image(id, tenant, request, least, actor.label)
    return image, _submit(actor, image, request.sha256.lower(), url=url)


@transaction.atomic
def drop(*, actor: Actor, upload_id: UUID) -> None:
    """Give it up: what was sent is removed, and the quota given back."""
    upload = unfinished(actor, upload_id)
    rows = ImageUpload.objects.unscoped("fetched through the gate").select_for_update()
    if not rows.filter(pk=upload.pk, finished_at=None).exists():  # in another tab, at this very moment
        raise _finished(upload)
    _forget(upload, actor, "upload.dropped")


def discard_unfinished(upload: ImageUpload, actor: Actor) -> None:
    """One that was begun for a single request, which came to nothing."""
    with transaction.atomic():
        rows = ImageUpload.objects.unscoped("the caller began it").filter(pk=upload.pk, finished_at=None)
        for found in rows.select_for_update():
            _forget(found, actor, "upload.dropped")


def reap() -> None:
    """Forget uploads that nobody went on with, and remove files that nobody has."""
    expired = ImageUpload.objects.unscoped("reaper").filter(expires_at__lt=timezone.now())
    for id in list(expired.values_list("pk", flat=True)[:500]):
        with transaction.atomic():
            for upload in expired.filter(pk=id).select_for_update():
                _forget(upload, SYSTEM, "upload.expired")
    for id in list(intake.ids()):
        if not intake.is_owned(id):
            intake.remove(id)
    with image_store.locked():
        for path in image_store.unnamed(older_than=image_store.UNNAMED_SECONDS):
            path.unlink(missing_ok=True)


def unfinished(actor: Actor, upload_id: UUID) -> ImageUpload:
    """NotFound where it is another tenant's, or its time is over; Conflict where it has ended."""
    upload = gate.get(ImageUpload, actor, Permission.IMAGE_WRITE, upload_id, related=("tenant",))
    if upload.finished_at is not None:
        raise _finished(upload)
    return upload


def _forget(upload: ImageUpload, actor: Actor, event: str) -> None:
    if upload.finished_at is None:
        ledger.release(upload.pk)
        log.record(event, actor=actor, target=upload)
        transaction.on_commit(lambda: intake.remove(upload.pk))
    ImageUpload.objects.unscoped("the caller holds it").filter(pk=upload.pk).delete()


def _require_few(tenant: Tenant) -> None:
    if ImageUpload.objects.unscoped("the actor's own").filter(tenant=tenant, finished_at=None).count() >= MOST_OPEN:
        raise Conflict(f"{MOST_OPEN} uploads are open; finish one, or give it up.", code="too_many_uploads")


def _require_few_imports(tenant: Tenant) -> None:
    """They share a lane with those of all others."""
    rows = Image.objects.unscoped("the actor's own").filter(tenant=tenant, state=ImageState.PENDING)
    if rows.count() >= MOST_OPEN:
        raise Conflict(f"{MOST_OPEN} images are on their way; wait until one is there.", code="too_many_imports")


def _check(request: NewImage, tenant: Tenant) -> None:
    text.label(request.name)
    if request.format not in ImageFormat.values:
        raise Invalid(f"Use one of: {', '.join(ImageFormat.values)}.", code="invalid_choice", field="format")
    if request.sha256 and not _SHA256.fullmatch(request.sha256.lower()):
        raise Invalid("A SHA-256 is 64 hexadecimal digits.", field="sha256")
    image_properties.checked(request.properties)
    if request.slug:
        text.no_id(text.slug(request.slug), "slug")
        if _is_taken(tenant, request.slug):
            raise _duplicate()


def pending_image(id: UUID, tenant: Tenant, request: NewImage, size_bytes: int, created_by: str) -> Image:
    """The row of an image that is to be, under a slug that is free."""
    image = Image(
        id=id,
        tenant=tenant,
        name=text.label(request.name),
        state=ImageState.PENDING,
        source_format=request.format,
        size_bytes=size_bytes,
        virtual_size_bytes=0,
        created_by=created_by,
        **request.properties,
    )
    for slug in [request.slug] if request.slug else _slugs(request.name):
        image.slug = slug
        try:
            with transaction.atomic():
                image.save(force_insert=True)
                return image
        except IntegrityError:
            continue
    raise _duplicate()


def _slugs(name: str) -> Iterator[str]:
    """`debian-12`, `debian-12-2`, …"""
    plain = slugify(name)[:56].replace("_", "-").strip("-")
    if not plain or plain.isdigit() or plain == "localhost" or text.is_id(plain):
        plain = f"image-{plain}".strip("-")
    yield plain
    yield from (f"{plain}-{number}" for number in range(2, _NAMES_TRIED))


def _is_taken(tenant: Tenant, slug: str) -> bool:
    return Image.objects.unscoped("the caller holds the tenant").filter(tenant=tenant, slug=slug).exists()


def _submit(actor: Actor, image: Image, sha256: str, url: str) -> Operation:
    where = target_of(url, Policy(http=True, allowed=frozenset(settings.IMAGE_URL_ALLOW))).host if url else "upload"
    return operations.submit(
        IMPORT,
        actor=actor,
        target=image,
        title=f"Import image {image.name}",
        params={"url": url, "sha256": sha256},
        lane=LANE,
        after={"format": image.source_format, "from": where},
    )


def _expiry() -> Any:
    return timezone.now() + timedelta(hours=settings.UPLOAD_HOURS)


def _finished(upload: ImageUpload) -> Conflict:
    extra = {"image": str(upload.image_id)} if upload.image_id else {}
    return Conflict("This upload was finished already.", code="upload_finished", extra=extra)


def _too_long(upload: ImageUpload) -> Invalid:
    return Invalid(f"The upload has {upload.size_bytes} bytes; this is more.", code="upload_too_long")


def _duplicate() -> Conflict:
    return Conflict("An image of this tenant has this name already.", code="duplicate", field="slug")
