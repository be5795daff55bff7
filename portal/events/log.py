"""Writing the log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import models

from portal.events import feed_order, live
from portal.events.models import Event
from portal.tenancy.gate import Actor

# Told of what was just written, in the same transaction; the apps add theirs at start.
listeners: list[Callable[[Sequence[Event]], None]] = []


class Change(NamedTuple):
    """The fields of `target` that changed, by name."""

    target: models.Model
    before: Mapping[str, Any]
    after: Mapping[str, Any]


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
    changes = {name: dict(values) for name, values in (("before", before), ("after", after)) if values is not None}
    event = _event(kind, actor, target, facts | changes)
    event.operation_id = operation_id
    event.save()
    feed_order.enter([event])
    _tell([event])
    return event


def record_all(kind: str, *, actor: Actor, changes: Iterable[Change]) -> None:
    """As `record`, of many targets in one write."""
    events = [
        _event(kind, actor, change.target, {"before": dict(change.before), "after": dict(change.after)})
        for change in changes
    ]
    Event.objects.bulk_create(events)
    feed_order.enter(events)
    _tell(events)


def _event(kind: str, actor: Actor, target: models.Model, data: Mapping[str, Any]) -> Event:
    return Event(
        kind=kind,
        tenant_id=getattr(target, "tenant_id", None),
        target_type=target._meta.model_name or "",
        target_id=target.pk,
        target_name=str(getattr(target, "name", "") or target)[:100],
        user=actor.user,
        actor=actor.label,
        source=actor.source,
        request_id=actor.request_id,
        data=data,
    )


def _tell(events: Sequence[Event]) -> None:
    for listen in listeners:
        listen(events)
    topics: dict[UUID | None, dict[str, None]] = defaultdict(dict)
    for event in events:
        own = (f"{event.target_type}:{event.target_id}", f"{event.target_type}s", "events")
        topics[event.tenant_id].update(dict.fromkeys(own))
    for tenant_id, own_topics in topics.items():
        live.tell(tenant_id, *own_topics)
