"""Reads of tenants and members."""

from __future__ import annotations

from django.db.models import QuerySet

from portal.core.errors import NotFound
from portal.tenancy.gate import Actor, parse_id
from portal.tenancy.models import Membership, Tenant
from portal.tenancy.roles import Permission


def tenants(actor: Actor) -> QuerySet[Tenant]:
    """Those that are open."""
    return Tenant.objects.for_actor(actor).filter(closed_at=None)


def all_tenants(actor: Actor) -> QuerySet[Tenant]:
    """Closed ones as well: the provider's list."""
    actor.require(Permission.HOST_READ)
    return Tenant.objects.for_actor(actor)


def tenant(actor: Actor, slug_or_id: object, permission: Permission = Permission.TENANT_READ) -> Tenant:
    """An open one, by slug or id; NotFound where the actor may not see it, Forbidden where the role is too low."""
    return _tenant(actor, tenants(actor), slug_or_id, permission)


def any_tenant(actor: Actor, slug_or_id: object, permission: Permission = Permission.TENANT_READ) -> Tenant:
    """As `tenant`; to the provider's staff also one that is closed."""
    rows = all_tenants(actor) if actor.can(Permission.HOST_READ) else tenants(actor)
    return _tenant(actor, rows, slug_or_id, permission)


def _tenant(actor: Actor, rows: QuerySet[Tenant], slug_or_id: object, permission: Permission) -> Tenant:
    wanted = str(slug_or_id)
    found = rows.filter(slug=wanted).first()
    if found is None:
        found = rows.filter(pk=parse_id(wanted)).first()
    if found is None:
        raise NotFound("There is no such tenant.")
    actor.require(permission, found.pk)
    return found


def members(actor: Actor, tenant: Tenant) -> QuerySet[Membership]:
    actor.require(Permission.MEMBER_READ, tenant.pk)
    return Membership.objects.filter(tenant=tenant).select_related("user")


def member(actor: Actor, tenant: Tenant, username: str) -> Membership:
    found = members(actor, tenant).filter(user__username=username).first()
    if found is None:
        raise NotFound("There is no such member.")
    return found
