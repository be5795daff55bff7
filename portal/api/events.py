"""The log of what happened."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.references import tenant_in
from portal.api.serializers import Id, Input, Integer, Moment, Text
from portal.api.views import ApiView
from portal.events import selectors
from portal.events.models import Event
from portal.tenancy.roles import Permission


class EventFilter(Input):
    tenant = Text(required=False, help_text="Slug or id.")
    target = Id(required=False, help_text="The id of what it happened to.")
    actor = Text(required=False, max_length=150, help_text="A user name, or “system”.")
    kind = Text(required=False, max_length=60, help_text="A kind such as “vm.renamed”, or the beginning of some: “vm”.")
    since = Moment(required=False, help_text="From this time on.")
    until = Moment(required=False, help_text="Before this time.")
    after = Integer(
        required=False,
        max_value=2**53,
        help_text="The feed: oldest first, what comes behind this `sequence`. 0 is the beginning.",
    )

    def to_internal_value(self, data: Any) -> Any:
        """A query has text alone; a number in it is one in plain digits."""
        text = data.get("after")
        is_number = isinstance(text, str) and re.fullmatch(r"[0-9]{1,16}", text, re.ASCII)
        return super().to_internal_value({**data, "after": int(text)} if is_number else data)


class TargetOut(serializers.Serializer[Any]):
    type = serializers.CharField(source="target_type")
    id = serializers.UUIDField(source="target_id")
    name = serializers.CharField(source="target_name", help_text="As it was then.")


class EventOut(serializers.Serializer[Any]):
    # Context: `actor`.
    id = serializers.IntegerField(help_text="Rises with time.")
    sequence = serializers.IntegerField(
        source="feed_entry.sequence", allow_null=True, help_text="Its place in the feed; null for a moment."
    )
    at = serializers.DateTimeField()
    kind = serializers.CharField()
    tenant = serializers.CharField(source="tenant.slug", allow_null=True)
    target = TargetOut(source="*")
    actor = serializers.CharField(help_text="User name, or “system”.")
    source = serializers.SerializerMethodField(  # type: ignore[assignment]
        help_text="By what: the UI, or a token's name; to tenants “the provider” for a token of its staff."
    )
    request_id = serializers.CharField()
    operation = serializers.UUIDField(source="operation_id", allow_null=True)
    data = serializers.DictField(help_text="`before` and `after`: the fields that changed, by name; and facts.")  # type: ignore[assignment]

    def get_source(self, event: Event) -> str:
        return event.source_for(for_provider=self.context["actor"].is_provider)


class Events(ApiView):
    permissions = {"GET": Permission.EVENT_READ}

    @extend_schema(parameters=[EventFilter], responses=EventOut(many=True))
    def get(self, request: Request) -> Response:
        """What happened, newest first; with `after` oldest first, as webhooks tell it."""
        wanted = self.query(EventFilter)
        tenant = tenant_in(self.actor, wanted.pop("tenant", None), Permission.EVENT_READ)
        target = wanted.pop("target", None)
        after = wanted.pop("after", None)
        conditions = selectors.Filter(tenant=tenant, target_id=target, **wanted)
        if after is not None:
            found = [entry.event for entry in self.page(selectors.feed(self.actor, conditions, after))]
        else:
            found = self.page(selectors.events(self.actor, conditions))
        return self.listed(EventOut(found, many=True, context={"actor": self.actor}).data)
