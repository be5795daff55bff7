"""What is sent of an event: the same each time it is sent, but for the time and the signatures."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import Q, QuerySet

from portal.events.models import Event, FeedEntry
from portal.webhooks.models import Webhook

TEST = "webhook.tested"


def wanted_by(webhook: Webhook) -> QuerySet[FeedEntry]:
    """What belongs to it, in order: the tenant's events (for the provider's own webhooks all) of the kinds it names."""
    rows = FeedEntry.objects.unscoped("deliveries").exclude(sequence=None).order_by("sequence")
    if webhook.tenant_id is not None:
        rows = rows.filter(tenant_id=webhook.tenant_id)
    if webhook.kinds:
        kinds = Q(event__kind=TEST, event__target_id=webhook.pk)
        for kind in webhook.kinds:
            kinds |= Q(event__kind=kind) | Q(event__kind__startswith=f"{kind}.")
        rows = rows.filter(kinds)
    return rows.select_related("event__tenant", "event__user")


def id_of(event: Event) -> str:
    """The same for each attempt. With the time: after a restore of the database, ids are given again."""
    return f"evt_{event.pk}_{int(event.at.timestamp() * 1000):x}"


def body_of(event: Event, sequence: int, previous: int, *, for_provider: bool) -> str:
    content = {
        "type": event.kind,
        "timestamp": _moment(event),
        "sequence": sequence,
        "previous": previous,
        "data": facts(event, sequence, for_provider=for_provider),
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def facts(event: Event, sequence: int, *, for_provider: bool) -> dict[str, Any]:
    """As `GET /api/v1/events` has it."""
    return {
        "id": event.pk,
        "sequence": sequence,
        "at": _moment(event),
        "kind": event.kind,
        "tenant": event.tenant.slug if event.tenant else None,
        "target": {"type": event.target_type, "id": str(event.target_id), "name": event.target_name},
        "actor": event.actor,
        "source": event.source_for(for_provider=for_provider),
        "request_id": event.request_id,
        "operation": str(event.operation_id) if event.operation_id else None,
        "data": event.data,
    }


def _moment(event: Event) -> str:
    return event.at.isoformat().replace("+00:00", "Z")
