"""Reads of the log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from portal.events import feed_order
from portal.events.models import Event, FeedEntry
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission


@dataclass(frozen=True)
class Filter:
    """What of the log is wanted; "" and None are no condition.

    `search` is part of a target's name, `actor` a user name or "system", `kind` a kind ("vm.renamed") or the beginning
    of some ("vm", "vm.resize"); times are aware, `until` is the first moment that is not wanted.
    """

    tenant: Tenant | None = None
    target_id: UUID | None = None
    search: str = ""
    actor: str = ""
    kind: str = ""
    since: datetime | None = None
    until: datetime | None = None


def events(actor: Actor, wanted: Filter) -> QuerySet[Event]:
    """Newest first: what the actor may see of it. Forbidden where the role in that tenant is too low."""
    rows = Event.objects.for_actor(actor).select_related("tenant", "feed_entry", "user")
    if wanted.tenant is not None:
        actor.require(Permission.EVENT_READ, wanted.tenant.pk)
    conditions = {
        "tenant": wanted.tenant,
        "target_id": wanted.target_id,
        "target_name__icontains": wanted.search,
        "actor": wanted.actor,
        "at__gte": wanted.since,
        "at__lt": wanted.until,
    }
    rows = rows.filter(**{name: value for name, value in conditions.items() if value not in (None, "")})
    return rows.filter(Q(kind=wanted.kind) | Q(kind__startswith=f"{wanted.kind}.")) if wanted.kind else rows


def feed(actor: Actor, wanted: Filter, after: int) -> QuerySet[FeedEntry]:
    """The same behind a place, in the order of places: nothing is ever added before what was read."""
    feed_order.give_places()
    rows = FeedEntry.objects.for_actor(actor).filter(sequence__gt=after).select_related("event__tenant", "event__user")
    if wanted == Filter():
        return rows
    return rows.filter(event__in=events(actor, wanted).order_by())
