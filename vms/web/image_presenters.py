"""Images as pages show them: plain values, decided once, whoever renders them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse

from portal.core.units import THIN_SPACE, mib, size
from portal.operations.models import Operation
from portal.operations.workflow import kinds, workflow_of
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from vms import image_selectors
from vms.image_selectors import Users
from vms.image_states import ImageAction
from vms.models import Image, ImageCopy, ImageState, Visibility
from vms.states import Verdict

_LOOKS = {ImageState.READY: "running", ImageState.PENDING: "working", ImageState.DELETING: "working"}
_SEEN_BY = {Visibility.PRIVATE: "this tenant", Visibility.PUBLIC: "everybody"}


@dataclass(frozen=True)
class ImageRow:
    """An image in a list. `seen_by` and `owner` are words; `owner` is "" for the tenant's own."""

    id: UUID
    slug: str
    name: str
    description: str
    url: str
    row_url: str
    create_url: str
    word: str
    look: str
    operation_url: str
    os: str
    kind: str
    firmware: str
    needs: str
    size: str
    owner: str
    seen_by: str
    uses: int
    created_at: datetime
    create: Verdict


@dataclass(frozen=True)
class CopyLine:
    id: UUID
    host: str
    pool: str
    size: str
    used_at: datetime
    verified_at: datetime | None


@dataclass(frozen=True)
class UserLine:
    name: str
    url: str


@dataclass(frozen=True)
class ImagePage(ImageRow):
    """An image's own page. `used_by` is words on who stands on it; `copies` is None for who may not see hosts."""

    topic: str
    header_url: str
    list_url: str
    default_user: str
    has_cloud_init: bool
    is_iso: bool
    is_active: bool
    deprecation: str
    visibility: str
    disk: str
    sha256: str
    created_by: str
    is_insider: bool
    used_by: str
    users: list[UserLine]
    copies: list[CopyLine] | None
    actions: Mapping[str, Verdict]


def row(actor: Actor, image: Image, tenant: Tenant, operation: Operation | None, uses: int) -> ImageRow:
    return ImageRow(**_row_fields(actor, image, tenant, operation, uses))


def page(
    actor: Actor,
    image: Image,
    tenant: Tenant,
    operation: Operation | None,
    users: Users,
    copies: list[ImageCopy] | None,
) -> ImagePage:
    own = [tenant.slug, image.pk]
    actions = image_selectors.actions(actor, image, operation, users.words, tenant.pk)
    return ImagePage(
        **_row_fields(actor, image, tenant, operation, users.visible + users.others),
        topic=f"image:{image.pk}",
        header_url=f"{reverse('image-header', args=own)}?was={image.state}",
        list_url=reverse("image-list", args=[tenant.slug]),
        default_user=image.default_user,
        has_cloud_init=image.has_cloud_init,
        is_iso=image.is_iso,
        is_active=image.is_active,
        deprecation=image.deprecation,
        visibility=image.visibility,
        disk="" if image.is_iso or not image.virtual_size_bytes else size(image.virtual_size_bytes),
        sha256=image.sha256,
        created_by=image.created_by if image_selectors.is_insider(actor, image) else "",
        is_insider=image_selectors.is_insider(actor, image),
        used_by=users.words,
        users=[UserLine(vm.name, reverse("vm-detail", args=[vm.tenant.slug, vm.pk])) for vm in users.named],
        copies=None if copies is None else [_copy(copy) for copy in copies],
        actions={action.name.lower(): verdict for action, verdict in actions.items()},
    )


def _row_fields(actor: Actor, image: Image, tenant: Tenant, operation: Operation | None, uses: int) -> dict[str, Any]:
    own = [tenant.slug, image.pk]
    used_by = image_selectors.used_by_words(uses)
    is_own = image.tenant_id == tenant.pk
    word, look = _state(image, operation)
    return {
        "id": image.pk,
        "slug": image.slug,
        "name": image.name,
        "description": image.description,
        "url": reverse("image-detail", args=own),
        "row_url": reverse("image-row", args=own),
        "create_url": f"{reverse('vm-create', args=[tenant.slug])}?image={image.pk}",
        "word": word,
        "look": look,
        "operation_url": reverse("operation-detail", args=[operation.pk]) if operation and is_own else "",
        "os": image.os,
        "kind": "ISO" if image.is_iso else "Disk",
        "firmware": image.get_firmware_display(),
        "needs": f"{mib(image.min_memory_mib)} memory, {image.least_disk_gib}{THIN_SPACE}GiB disk",
        "size": size(image.size_bytes) if image.state == ImageState.READY else "",
        "owner": "" if is_own else image.tenant.name if image.tenant else "the provider",
        "seen_by": _seen_by(actor, image),
        "uses": uses,
        "created_at": image.created_at,
        "create": image_selectors.actions(actor, image, operation, used_by, tenant.pk)[ImageAction.CREATE],
    }


def _state(image: Image, operation: Operation | None) -> tuple[str, str]:
    if operation is not None and operation.kind in kinds():
        return workflow_of(operation.kind).doing, "attention" if operation.needs_attention else "working"
    if not image.is_active:
        return "deprecated", "attention"
    return str(image.state), _LOOKS[ImageState(image.state)]


def _seen_by(actor: Actor, image: Image) -> str:
    if image.visibility != Visibility.SHARED:
        return (
            "the provider"
            if image.tenant_id is None and image.visibility == Visibility.PRIVATE
            else _SEEN_BY[Visibility(image.visibility)]
        )
    if not image_selectors.is_insider(actor, image):
        return "shared with you"
    names = [share.tenant.name for share in image.shares.all()]
    return f"shared with {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"


def _copy(copy: ImageCopy) -> CopyLine:
    return CopyLine(
        id=copy.pk,
        host=copy.pool.host.name,
        pool=copy.pool.name,
        size=size(copy.size_bytes),
        used_at=copy.used_at,
        verified_at=copy.verified_at,
    )
