"""Reads of tenants and members."""

from __future__ import annotations

from django.db.models import QuerySet

from portal.core.errors import NotFound
from portal.tenancy.gate import Actor, parse_id
from portal.tenancy.models import Membership, Tenant
from portal.tenancy.roles import Permission


def tenants(actor: Actor) -> QuerySet[Tenant]:
    return Tenant.objects.for_actor(actor).filter(closed_at=None)


def tenant(actor: Actor, slug_or_id: object, permission: Permission = Permission.TENANT_READ) -> Tenant:
    """By slug or id; NotFound where the actor may not see it, Forbidden where the role is too low."""
    rows, wanted = tenants(actor), str(slug_or_id)
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
