"""Keeping images: their properties, who sees them, and their end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from portal.core import text
from portal.core.errors import Conflict, Invalid, NotFound
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.services import active_on
from portal.tenancy.gate import Actor, parse_id
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from vms import image_properties, image_selectors
from vms.image_states import ImageAction
from vms.models import Image, ImageShare, ImageState, Visibility
from vms.workflows.image_delete import DELETE

MOST_SHARES = 100


@transaction.atomic
def change_image(*, actor: Actor, image: Image, properties: Mapping[str, Any]) -> Image:
    """What it is called, what is in it and what it needs; machines that were made of it stay as they are."""
    wanted = image_properties.checked(properties)
    _require(actor, image, ImageAction.CHANGE)
    before = {name: getattr(image, name) for name in wanted if getattr(image, name) != wanted[name]}
    if not before:
        return image
    for name in before:
        setattr(image, name, wanted[name])
    image.save(update_fields=list(before))
    after = {name: wanted[name] for name in before}
    log.record("image.changed", actor=actor, target=image, before=before, after=after)
    return image


@transaction.atomic
def share_image(*, actor: Actor, image: Image, tenants: Iterable[str]) -> Image:
    """Let exactly these tenants, by slug or id, see and use it; none is to keep it private.

    Who shares learns thereby whether a tenant of a name exists.
    """
    _require(actor, image, ImageAction.SHARE)
    wanted = _tenants(tenants, image)
    before = _shared_with(image)
    image.shares.exclude(tenant__in=wanted).delete()
    for tenant in wanted:
        ImageShare.objects.get_or_create(image=image, tenant=tenant)
    image.visibility = Visibility.SHARED if wanted else Visibility.PRIVATE
    image.save(update_fields=["visibility"])
    if (after := sorted(tenant.slug for tenant in wanted)) != before:
        log.record("image.shared", actor=actor, target=image, before={"seen by": before}, after={"seen by": after})
    return image


@transaction.atomic
def publish_image(*, actor: Actor, image: Image, public: bool) -> Image:
    """Let everybody see and use it, or its owner alone. For administrators."""
    actor.require(Permission.IMAGE_READ)
    _require(actor, image, ImageAction.PUBLISH)
    before, after = image.visibility, str(Visibility.PUBLIC if public else Visibility.PRIVATE)
    if before != after and (public or before == Visibility.PUBLIC):
        image.shares.all().delete()
        image.visibility = after
        image.save(update_fields=["visibility"])
        log.record("image.shown", actor=actor, target=image, before={"for": before}, after={"for": after})
    return image


@transaction.atomic
def set_image_active(*, actor: Actor, image: Image, active: bool, deprecation: str = "") -> Image:
    """Deprecate an image, with words for those who look for it, or offer it again. Machines made of it stay."""
    words = text.label(deprecation, field="deprecation", longest=200) if deprecation.strip() else ""
    if image.is_active == active and image.deprecation == words:
        actor.require(Permission.IMAGE_WRITE, image.tenant_id)
        return image
    if image.is_active != active:
        _require(actor, image, ImageAction.OFFER if active else ImageAction.DEPRECATE)
    else:
        _require(actor, image, ImageAction.CHANGE)
    before = image.is_active
    image.is_active, image.deprecation = active, "" if active else words
    image.save(update_fields=["is_active", "deprecation"])
    kind = "image.activated" if active else "image.retired"
    log.record(kind, actor=actor, target=image, before={"offered": before}, after={"offered": active})
    return image


@transaction.atomic
def delete_image(*, actor: Actor, image: Image) -> Operation:
    """For good. Conflict ("in_use") where machines stand on it, with those that the actor sees by name."""
    _require(actor, image, ImageAction.DELETE)
    image.state = ImageState.DELETING
    image.save(update_fields=["state"])
    return operations.submit(DELETE, actor=actor, target=image, title=f"Delete image {image.name}")


def _require(actor: Actor, image: Image, action: ImageAction) -> None:
    """Brings `image` up to date, locked until the caller's transaction ends, and judges it as it is now."""
    rows = Image.objects.unscoped("fetched through the gate").select_for_update()
    try:
        image.refresh_from_db(from_queryset=rows)
    except Image.DoesNotExist:
        raise NotFound("This image is gone.") from None
    permission = Permission.IMAGE_SHARE if action is ImageAction.SHARE else Permission.IMAGE_WRITE
    actor.require(permission, None if action is ImageAction.PUBLISH else image.tenant_id)
    operation = active_on("image", image.pk)
    users = image_selectors.users(actor, image) if action is ImageAction.DELETE else None
    verdict = image_selectors.actions(actor, image, operation, users.words if users else "")[action]
    if verdict.allowed:
        return
    if users and users.words and verdict.reason == users.words:
        facts = {"vms": [str(vm.pk) for vm in users.named], "others": users.others}
        raise Conflict(f"{verdict.reason} Delete what stands on it first.", code="in_use", extra=facts)
    if operation is not None:
        raise Conflict(verdict.reason, code="operation_in_progress", extra={"operation": str(operation.pk)})
    raise Conflict(verdict.reason, code="wrong_state", extra={"state": image.state})


def _shared_with(image: Image) -> list[str]:
    return list(image.shares.values_list("tenant__slug", flat=True))


def _tenants(references: Iterable[str], image: Image) -> list[Tenant]:
    wanted = list(dict.fromkeys(references))
    if len(wanted) > MOST_SHARES:
        raise Invalid(f"At most {MOST_SHARES} tenants.", code="too_many", field="shared_with")
    found = [_tenant(reference) for reference in wanted]
    return [tenant for tenant in found if tenant.pk != image.tenant_id]


def _tenant(reference: str) -> Tenant:
    rows = Tenant.objects.unscoped("named by an owner who shares an image").filter(closed_at=None)
    try:
        id: UUID | None = parse_id(reference)
    except NotFound:
        id = None
    found = rows.filter(Q(slug=reference) | Q(pk=id)).first()
    if found is None:
        words = f"There is no tenant {reference[:63]}."
        raise Invalid(words, code="unknown_reference", field="shared_with")
    return found
