"""Writing the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import models

from portal.events import live
from portal.events.models import Event
from portal.tenancy.gate import Actor


def record(
    kind: str,
    *,
    actor: Actor,
    target: models.Model,
    operation_id: UUID | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    **facts: Any,
) -> Event:
    """Append one event about `target` (anything with an id, a name and perhaps a tenant) and tell open pages of it.

    `before` and `after` are the fields that changed, by name; `facts` what else there is to know. All in JSON's types,
    and never a secret. Call it in the transaction of what it tells.
    """
    tenant_id = getattr(target, "tenant_id", None)
    target_type = target._meta.model_name or ""
    changes = {name: dict(values) for name, values in (("before", before), ("after", after)) if values is not None}
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
        data=facts | changes,
    )
    live.tell(tenant_id, f"{target_type}:{target.pk}", f"{target_type}s", "events")
    return event
