"""Reads of webhooks."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from portal.core.errors import NotFound
from portal.tenancy import gate
from portal.tenancy.gate import Actor, parse_id
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.webhooks.models import Delivery, Webhook


def webhooks(actor: Actor, tenant: Tenant | None = None) -> QuerySet[Webhook]:
    """Of that tenant, or all that the actor may see, the provider's own among them for its staff."""
    rows = Webhook.objects.for_actor(actor).select_related("tenant")
    if tenant is not None:
        actor.require(Permission.WEBHOOK_READ, tenant.pk)
        return rows.filter(tenant=tenant)
    actor.require_somewhere(Permission.WEBHOOK_READ)
    if actor.can(Permission.WEBHOOK_READ):
        return rows
    return rows.filter(tenant__in=[id for id in actor.memberships if actor.can(Permission.WEBHOOK_READ, id)])


def webhook(actor: Actor, id: UUID | str, permission: Permission = Permission.WEBHOOK_READ) -> Webhook:
    return gate.get(Webhook, actor, permission, id, related=["tenant"])


def deliveries(webhook: Webhook) -> QuerySet[Delivery]:
    """Newest first, of a webhook that the gate gave."""
    return webhook.deliveries.select_related("event")


def delivery(webhook: Webhook, id: UUID | str) -> Delivery:
    found = deliveries(webhook).filter(pk=parse_id(id)).first()
    if found is None:
        raise NotFound("There is no such delivery.")
    return found
