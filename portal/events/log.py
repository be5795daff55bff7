"""Writing the log."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import models

from portal.events import live
from portal.events.models import Event
from portal.tenancy.gate import Actor


def record(kind: str, *, actor: Actor, target: models.Model, operation_id: UUID | None = None, **data: Any) -> Event:
    """Append one event about `target` (anything with an id, a name and perhaps a tenant) and tell open pages of it.

    `data` is what changed, in JSON's types; never a secret.
    """
    tenant_id = getattr(target, "tenant_id", None)
    target_type = target._meta.model_name or ""
    event = Event.objects.create(
        kind=kind,
        tenant_id=tenant_id,
        target_type=target_type,
        target_id=target.pk,
        target_name=str(getattr(target, "name", "") or target)[:100],
        user=actor.user,
        actor=actor.label,
        source=actor.source,
        request_id=actor.request_id,
        operation_id=operation_id,
        data=data,
    )
    live.tell(tenant_id, f"{target_type}:{target.pk}", f"{target_type}s", "events")
    return event
