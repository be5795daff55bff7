"""Reads of the log."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from portal.events.models import Event
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission


def events(
    actor: Actor, *, tenant: Tenant | None = None, target_id: UUID | None = None, search: str = ""
) -> QuerySet[Event]:
    """Newest first: one tenant's or one target's, or all the actor may see; `search` is part of a target's name."""
    rows = Event.objects.for_actor(actor)
    if tenant is not None:
        actor.require(Permission.EVENT_READ, tenant.pk)
        rows = rows.filter(tenant=tenant)
    if target_id is not None:
        rows = rows.filter(target_id=target_id)
    return rows.filter(target_name__icontains=search) if search else rows
