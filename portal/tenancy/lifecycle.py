"""Tenants by the name that a billing system has for them: say what is to be, as often as you like."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import IntegrityError, transaction

from portal.core.errors import Conflict, Invalid, NotFound
from portal.events import log
from portal.quotas import selectors as quotas
from portal.quotas.services import set_limits
from portal.tenancy import services
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission


def by_external_id(actor: Actor, external_id: str) -> Tenant:
    """For the provider's staff: to others such names say nothing. NotFound where there is none."""
    if not actor.is_provider:
        raise NotFound("There is no such tenant.")
    found = Tenant.objects.for_actor(actor).filter(external_id=external_id, closed_at=None).first()
    if found is None:
        raise NotFound("There is no such tenant.")
    return found


@transaction.atomic
def provide(
    *,
    actor: Actor,
    external_id: str,
    name: str | None = None,
    slug: str | None = None,
    quota: Mapping[str, int | None] | None = None,
) -> tuple[Tenant, bool]:
    """Create it where there is none, else change what differs. The tenant, and whether it is new.

    Two that say so at the same time get one tenant: the second is refused, and finds it when it says so again.
    """
    actor.require(Permission.TENANT_WRITE)
    tenant = Tenant.objects.for_actor(actor).select_for_update().filter(external_id=external_id).first()
    is_new = tenant is None
    if tenant is None:
        tenant = _create(actor, external_id, name, slug)
    else:
        _refuse_other(tenant, slug)
        if name is not None and name != tenant.name:
            services.rename_tenant(actor=actor, tenant=tenant, name=name)
    _set_quota(actor, tenant, quota or {})
    return tenant, is_new


def _create(actor: Actor, external_id: str, name: str | None, slug: str | None) -> Tenant:
    if slug is None:
        raise Invalid("A new tenant needs a slug.", code="required", field="slug")
    tenant = services.create_tenant(actor=actor, name=name or slug, slug=slug)
    tenant.external_id = external_id
    try:
        with transaction.atomic():
            tenant.save(update_fields=["external_id"])
    except IntegrityError as error:
        raise Conflict("Somebody else is creating it; say it again.", code="duplicate") from error
    log.record("tenant.linked", actor=actor, target=tenant, after={"external_id": external_id})
    return tenant


def _refuse_other(tenant: Tenant, slug: str | None) -> None:
    if tenant.closed_at is not None:
        raise Conflict("This tenant was closed.", code="tenant_closed")
    if slug is not None and slug != tenant.slug:
        raise Conflict(f"Its slug is {tenant.slug}, and stays.", code="slug_fixed", field="slug")


def _set_quota(actor: Actor, tenant: Tenant, wanted: Mapping[str, int | None]) -> None:
    limits = quotas.usage(actor, tenant).limits
    differing = {name: limit for name, limit in wanted.items() if limits[name] != limit}
    if differing:
        set_limits(actor=actor, tenant=tenant, limits=differing)
