"""What administrators put before tenants: sizes, and images that they trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from django.db import IntegrityError, transaction

from hosts import labels
from hosts.service_class import WHOLE, ServiceClass
from portal.core import text
from portal.core.errors import Conflict, Invalid
from portal.events import log
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import image_store
from vms.models import Flavor, Image, Visibility
from vms.models.catalogue import Priority

MOST_VCPUS, MOST_MEMORY_MIB, MOST_DISK_GIB = 512, 16 * 1024 * 1024, 1024 * 1024


@transaction.atomic
def register_image(*, actor: Actor, source: Path, slug: str, **properties: Any) -> Image:
    """Take a trusted, local qcow2 file into the store as a public image; the same slug again replaces what it names."""
    actor.require(Permission.IMAGE_WRITE)
    image = Image.objects.unscoped("public images").filter(
        tenant=None, slug=text.no_id(text.slug(slug), "slug")
    ).first() or Image(slug=slug)
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


@dataclass(frozen=True)
class Class:
    """What is promised of a size: percent of one CPU for each vCPU; None is what the class says by itself.

    `recovery_priority` is whose turn it is where machines of a failed host start elsewhere; it counts at once for all.
    `host_labels` are what it asks of the hosts of its machines.
    """

    service_class: str = ServiceClass.BURSTABLE
    cpu_floor: int | None = None
    cpu_ceiling: int | None = None
    has_huge_pages: bool = False
    recovery_priority: str = Priority.NORMAL
    host_labels: Sequence[str] = ()


@transaction.atomic
def create_flavor(
    *, actor: Actor, slug: str, name: str, vcpus: int, memory_mib: int, disk_gib: int, promised: Class = Class()
) -> Flavor:
    actor.require(Permission.FLAVOR_WRITE)
    promised = _checked(promised)
    _check_range("vcpus", vcpus, 1, MOST_VCPUS)
    _check_range("memory_mib", memory_mib, 32, MOST_MEMORY_MIB)
    _check_range("disk_gib", disk_gib, 1, MOST_DISK_GIB)
    size = {"vcpus": vcpus, "memory_mib": memory_mib, "disk_gib": disk_gib}
    flavor = Flavor(slug=text.no_id(text.slug(slug), "slug"), name=text.label(name), **size, **asdict(promised))
    try:
        with transaction.atomic():
            flavor.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict("There is a flavor with this slug already.", code="duplicate", field="slug") from error
    log.record("flavor.created", actor=actor, target=flavor, after={**size, **_said(promised)})
    return flavor


@transaction.atomic
def promise_flavor(*, actor: Actor, flavor: Flavor, promised: Class) -> Flavor:
    """Change what is promised of a size. Machines keep what they have until they are resized, to this size as well."""
    actor.require(Permission.FLAVOR_WRITE)
    promised = _checked(promised)
    before = class_of(flavor)
    for name, value in asdict(promised).items():
        setattr(flavor, name, value)
    flavor.save(update_fields=list(asdict(promised)))
    log.record("flavor.promised", actor=actor, target=flavor, before=_said(before), after=_said(promised))
    return flavor


def class_of(flavor: Flavor) -> Class:
    return Class(**{each.name: getattr(flavor, each.name) for each in fields(Class)})


def _said(promised: Class) -> dict[str, Any]:
    """For the log: what is said, without what is left to the class."""
    unsaid: tuple[object, ...] = (None, False, Priority.NORMAL, [], ())
    return {name: value for name, value in asdict(promised).items() if value not in unsaid}


def _checked(promised: Class) -> Class:
    _check_class(promised)
    return replace(promised, host_labels=labels.checked(promised.host_labels, field="host_labels"))


def _check_class(promised: Class) -> None:
    kind = ServiceClass(promised.service_class)
    if promised.recovery_priority not in Priority.values:
        raise Invalid(f"Use one of: {', '.join(Priority.values)}.", field="recovery_priority")
    if promised.cpu_floor is not None:
        if kind in (ServiceClass.DEDICATED, ServiceClass.BEST_EFFORT):
            words = "A dedicated size has all of its CPUs, and best effort has no floor. Leave it empty."
            raise Invalid(words, field="cpu_floor")
        _check_range("cpu_floor", promised.cpu_floor, 1, WHOLE)
    if promised.cpu_ceiling is not None:
        if kind is not ServiceClass.BURSTABLE:
            raise Invalid("Only burstable sizes have a ceiling. Leave it empty.", field="cpu_ceiling")
        _check_range("cpu_ceiling", promised.cpu_ceiling, promised.cpu_floor or 1, WHOLE)
    if promised.has_huge_pages and kind not in (ServiceClass.DEDICATED, ServiceClass.GUARANTEED):
        raise Invalid("Only sizes whose memory is reserved can have huge pages.", field="has_huge_pages")


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
