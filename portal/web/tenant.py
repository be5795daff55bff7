"""The tenant a page is about."""

from __future__ import annotations

from django.http import HttpRequest

from portal.tenancy import selectors
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of

LAST_TENANT = "tenant"
MOST_TENANTS = 100


def tenants_of(request: HttpRequest) -> list[Tenant]:
    """What the switcher offers, read once a request: one's tenants, for the provider's staff the first hundred."""
    if not hasattr(request, "_tenants"):
        request._tenants = list(selectors.tenants(actor_of(request))[:MOST_TENANTS])  # type: ignore[attr-defined]
    found: list[Tenant] = request._tenants  # type: ignore[attr-defined]
    return found


def tenant_of(request: HttpRequest, slug: str, permission: Permission = Permission.TENANT_READ) -> Tenant:
    """The tenant in the address, remembered as the last one used. NotFound or Forbidden where it may not be had."""
    actor = actor_of(request)
    tenant = next((each for each in tenants_of(request) if each.slug == slug), None)
    if tenant is None:
        tenant = selectors.tenant(actor, slug)
    actor.require(permission, tenant.pk)
    if request.session.get(LAST_TENANT) != tenant.slug:
        request.session[LAST_TENANT] = tenant.slug
    request._tenant = tenant  # type: ignore[attr-defined]
    return tenant


def current_tenant(request: HttpRequest) -> Tenant | None:
    """That of the page, else the last one used, else the first one's own."""
    if hasattr(request, "_tenant"):
        tenant: Tenant = request._tenant
        return tenant
    tenants = tenants_of(request)
    last = request.session.get(LAST_TENANT)
    own = actor_of(request).memberships
    by_preference = sorted(tenants, key=lambda each: (each.slug != last, each.pk not in own))
    return by_preference[0] if by_preference else None
