"""Storage classes: what tenants choose from, and what their disks are held to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction

from hosts import selectors
from hosts.models import StorageClass
from portal.core import text
from portal.core.errors import Conflict, Invalid
from portal.events import log
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission

LIMITS = ("read_iops", "write_iops", "read_mib_s", "write_mib_s")
LEAST_IOPS, MOST_IOPS, MOST_MIB_S = 10, 10_000_000, 1_000_000


@transaction.atomic
def create_class(*, actor: Actor, slug: str, name: str, description: str = "", **limits: int | None) -> StorageClass:
    """A new one, without a pool yet. `limits` are of each disk; None or left out is no limit."""
    actor.require(Permission.HOST_WRITE)
    found = StorageClass(
        slug=text.slug(slug), name=text.label(name), description=_words(description), **_checked(limits)
    )
    try:
        with transaction.atomic():
            found.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict("There is a storage class with this slug already.", code="duplicate", field="slug") from error
    log.record("storage-class.created", actor=actor, target=found, after=_facts(found))
    return found


@transaction.atomic
def change_class(*, actor: Actor, storage_class: StorageClass, **changes: Any) -> StorageClass:
    """Its name, description, limits, whether it is offered (`active`) and whether it is the default one.

    Limits stay while it has pools: running machines are held to them. Conflict says so.
    """
    actor.require(Permission.HOST_WRITE)
    before = _facts(storage_class)
    if limits := {name: changes[name] for name in LIMITS if name in changes}:
        _change_limits(storage_class, limits)
    if "name" in changes:
        storage_class.name = text.label(changes["name"])
    if "description" in changes:
        storage_class.description = _words(changes["description"])
    if "active" in changes:
        _offer(storage_class, active=changes["active"])
    if changes.get("default"):
        _make_default(storage_class)
    storage_class.save()
    log.record("storage-class.changed", actor=actor, target=storage_class, before=before, after=_facts(storage_class))
    return storage_class


def _change_limits(storage_class: StorageClass, limits: Mapping[str, int | None]) -> None:
    wanted = _checked(limits)
    if all(getattr(storage_class, name) == value for name, value in wanted.items()):
        return
    if reason := selectors.why_limits_stay(storage_class):
        raise Conflict(reason, code="in_use")
    for name, value in wanted.items():
        setattr(storage_class, name, value)


def _offer(storage_class: StorageClass, *, active: bool) -> None:
    if storage_class.is_default and not active:
        raise Conflict("It is the default one. Make another the default first.", code="in_use", field="active")
    storage_class.is_active = active


def _make_default(storage_class: StorageClass) -> None:
    """What is chosen where none is named; the hosts' default pools keep the class they have."""
    if not storage_class.is_active:
        raise Conflict("Offer it first: nobody can choose it now.", code="wrong_state", field="default")
    StorageClass.objects.filter(is_default=True).update(is_default=False)
    storage_class.is_default = True


def _checked(limits: Mapping[str, int | None]) -> dict[str, int | None]:
    for name, value in limits.items():
        least, most = (LEAST_IOPS, MOST_IOPS) if name.endswith("iops") else (1, MOST_MIB_S)
        if value is not None and not least <= value <= most:
            raise Invalid(f"Use a whole number from {least} to {most}, or none for no limit.", field=name)
    return dict(limits)


def _words(description: str) -> str:
    return text.label(description, field="description", longest=300) if description.strip() else ""


def _facts(found: StorageClass) -> dict[str, Any]:
    own = {"name": found.name, "offered": found.is_active, "default": found.is_default}
    return {**own, **{name: getattr(found, name) for name in LIMITS}}
