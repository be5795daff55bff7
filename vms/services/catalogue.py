"""What administrators put before tenants: sizes, and images that they trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.db import IntegrityError, transaction

from portal.core import text
from portal.core.errors import Conflict, Invalid
from portal.events import log
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import image_store
from vms.models import Flavor, Image, Visibility

MOST_VCPUS, MOST_MEMORY_MIB, MOST_DISK_GIB = 512, 16 * 1024 * 1024, 1024 * 1024


@transaction.atomic
def register_image(*, actor: Actor, source: Path, slug: str, **properties: Any) -> Image:
    """Take a trusted, local qcow2 file into the store as a public image; the same slug again replaces what it names."""
    actor.require(Permission.IMAGE_WRITE)
    image = Image.objects.unscoped("public images").filter(tenant=None, slug=text.slug(slug)).first() or Image(
        slug=slug
    )
    before = None if image._state.adding else {"sha256": image.sha256}
    image.sha256 = image_store.sha256(source)
    image.size_bytes = source.stat().st_size
    image.virtual_size_bytes = image_store.virtual_size(source)
    for name, value in {"visibility": Visibility.PUBLIC, **properties}.items():
        setattr(image, name, value)
    image_store.keep(source, image)
    image.save()
    log.record("image.registered", actor=actor, target=image, before=before, after={"sha256": image.sha256})
    return image


@transaction.atomic
def create_flavor(*, actor: Actor, slug: str, name: str, vcpus: int, memory_mib: int, disk_gib: int) -> Flavor:
    actor.require(Permission.FLAVOR_WRITE)
    _check_range("vcpus", vcpus, 1, MOST_VCPUS)
    _check_range("memory_mib", memory_mib, 32, MOST_MEMORY_MIB)
    _check_range("disk_gib", disk_gib, 1, MOST_DISK_GIB)
    flavor = Flavor(slug=text.slug(slug), name=text.label(name), vcpus=vcpus, memory_mib=memory_mib, disk_gib=disk_gib)
    try:
        with transaction.atomic():
            flavor.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict("There is a flavor with this slug already.", code="duplicate", field="slug") from error
    after = {"vcpus": vcpus, "memory_mib": memory_mib, "disk_gib": disk_gib}
    log.record("flavor.created", actor=actor, target=flavor, after=after)
    return flavor


@transaction.atomic
def set_flavor_active(*, actor: Actor, flavor: Flavor, active: bool) -> Flavor:
    """Offer a size or retire it; machines that have it keep it."""
    actor.require(Permission.FLAVOR_WRITE)
    before, flavor.is_active = flavor.is_active, active
    flavor.save(update_fields=["is_active"])
    kind = "flavor.activated" if active else "flavor.retired"
    log.record(kind, actor=actor, target=flavor, before={"offered": before}, after={"offered": active})
    return flavor


def _check_range(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise Invalid(f"Use a whole number from {least} to {most}.", field=field)
