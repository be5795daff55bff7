"""Webhooks: where they lead, what became of their messages, and what can be done about it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.references import tenant_in
from portal.api.serializers import Choice, Input, Integer, Text
from portal.api.views import ApiView
from portal.core.errors import Invalid
from portal.tenancy import selectors as tenancy
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.webhooks import selectors, services
from portal.webhooks.models import DeliveryState, Webhook

_READ, _WRITE = {"GET": Permission.WEBHOOK_READ}, {"POST": Permission.WEBHOOK_WRITE}
_KINDS = "Kinds of events, such as “vm.renamed”, or the beginnings of some: “vm”. None: all."


class WebhookIn(Input):
    url = Text(max_length=2000, help_text="https, of a public server.")
    name = Text(max_length=100, required=False, help_text="Left out, the name of its server.")
    kinds = serializers.ListField(child=Text(max_length=60), required=False, max_length=50, help_text=_KINDS)
    tenant = Text(required=False, help_text="Slug or id. Administrators who name none hear of all tenants.")


class WebhookChange(Input):
    """What is left out stays as it is."""

    url = Text(max_length=2000, required=False)
    name = Text(max_length=100, required=False)
    kinds = serializers.ListField(child=Text(max_length=60), required=False, max_length=50, help_text=_KINDS)


class RotateIn(Input):
    overlap_hours = Integer(
        required=False,
        max_value=services.LONGEST_OVERLAP_HOURS,
        help_text="That the old one signs as well; 24 if left out.",
    )


class ReplayIn(Input):
    after = Integer(max_value=2**53, help_text="A `sequence`; what comes behind it is sent again, in order.")


class WebhookOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    url = serializers.CharField()
    kinds = serializers.ListField(child=serializers.CharField(), help_text="Empty: all.")
    tenant = serializers.CharField(
        source="tenant.slug", default=None, help_text="null: of all tenants, the provider's."
    )
    status = serializers.ChoiceField(choices=["active", "failing", "disabled"])
    disabled_for = serializers.CharField(help_text="Why it is disabled; empty where it is not.")
    sequence = serializers.IntegerField(source="cursor", help_text="Up to where in the feed it has all that it wants.")
    failures = serializers.IntegerField(help_text="In a row.")
    failing_since = serializers.DateTimeField(allow_null=True)
    next_at = serializers.DateTimeField(allow_null=True, help_text="When it is tried again.")
    previous_secret_until = serializers.DateTimeField(source="previous_until", allow_null=True)
    created_at = serializers.DateTimeField()


class NewWebhookOut(WebhookOut):
    secret = serializers.CharField(allow_null=True, help_text="To be seen only now; null where the answer is replayed.")


class DeliveryOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    event = serializers.IntegerField(source="event_id")
    kind = serializers.CharField(source="event.kind")
    sequence = serializers.IntegerField()
    state = serializers.ChoiceField(choices=DeliveryState.values)
    attempts = serializers.IntegerField()
    at = serializers.DateTimeField(help_text="Of the last attempt.")
    status = serializers.IntegerField(allow_null=True, help_text="The HTTP status of the answer; null: there was none.")
    detail = serializers.CharField()
    milliseconds = serializers.IntegerField()
    resend_asked_at = serializers.DateTimeField(allow_null=True)


class WebhookFilter(Input):
    tenant = Text(required=False, help_text="Slug or id.")


class DeliveryFilter(Input):
    state = Choice(DeliveryState.values, required=False)


class Webhooks(ApiView):
    permissions = {**_READ, **_WRITE}
    secrets = ("secret",)

    @extend_schema(parameters=[WebhookFilter], responses=WebhookOut(many=True))
    def get(self, request: Request) -> Response:
        """Webhooks, oldest first. For owners and the provider's staff."""
        tenant = tenant_in(self.actor, self.query(WebhookFilter).get("tenant"), Permission.WEBHOOK_READ)
        return self.listed(WebhookOut(self.page(selectors.webhooks(self.actor, tenant)), many=True).data)

    @extend_schema(request=WebhookIn, responses={201: NewWebhookOut})
    def post(self, request: Request) -> Response:
        """A new one, told of what happens from now on. Its secret is shown once."""
        self.actor.require_somewhere(Permission.WEBHOOK_WRITE)
        wanted = self.body(WebhookIn)
        wanted["tenant"] = _tenant(self.actor, wanted.get("tenant"))
        webhook, secret = services.create(actor=self.actor, **wanted)
        return self.created({**WebhookOut(webhook).data, "secret": secret}, f"/api/v1/webhooks/{webhook.pk}")


class WebhookDetail(ApiView):
    permissions = {**_READ, "PATCH": Permission.WEBHOOK_WRITE, "DELETE": Permission.WEBHOOK_WRITE}

    @extend_schema(responses=WebhookOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One webhook, and how it does."""
        return Response(WebhookOut(selectors.webhook(self.actor, id)).data)

    @extend_schema(request=WebhookChange, responses=WebhookOut)
    def patch(self, request: Request, id: UUID) -> Response:
        """Change where it leads or what it hears of; a new address is tried at once."""
        webhook = _for_change(self, id)
        return Response(WebhookOut(services.change(actor=self.actor, webhook=webhook, **self.body(WebhookChange))).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, id: UUID) -> Response:
        """With its log of deliveries."""
        services.delete(actor=self.actor, webhook=_for_change(self, id))
        return Response(status=204)


class WebhookEnable(ApiView):
    permissions = _WRITE

    @extend_schema(request=None, responses=WebhookOut)
    def post(self, request: Request, id: UUID) -> Response:
        """It goes on where it stopped."""
        webhook = _for_change(self, id)
        self.body()
        return Response(WebhookOut(services.enable(actor=self.actor, webhook=webhook)).data)


class WebhookDisable(ApiView):
    permissions = _WRITE

    @extend_schema(request=None, responses=WebhookOut)
    def post(self, request: Request, id: UUID) -> Response:
        """Nothing is sent until it is enabled again."""
        webhook = _for_change(self, id)
        self.body()
        return Response(WebhookOut(services.disable(actor=self.actor, webhook=webhook)).data)


class WebhookRotate(ApiView):
    permissions = _WRITE
    secrets = ("secret",)

    @extend_schema(request=RotateIn, responses=NewWebhookOut)
    def post(self, request: Request, id: UUID) -> Response:
        """A new secret, shown once; for a while messages carry the signatures of both."""
        webhook = _for_change(self, id)
        webhook, secret = services.rotate(actor=self.actor, webhook=webhook, **self.body(RotateIn))
        return Response({**WebhookOut(webhook).data, "secret": secret})


class WebhookTest(ApiView):
    permissions = _WRITE

    @extend_schema(request=None, responses=WebhookOut)
    def post(self, request: Request, id: UUID) -> Response:
        """Send it an event `webhook.tested`, behind what waits, and try at once."""
        webhook = _for_change(self, id)
        self.body()
        services.test(actor=self.actor, webhook=webhook)
        return Response(WebhookOut(webhook).data)


class WebhookReplay(ApiView):
    permissions = _WRITE

    @extend_schema(request=ReplayIn, responses=WebhookOut)
    def post(self, request: Request, id: UUID) -> Response:
        """Send again, in order, all that came behind a place of the feed."""
        webhook = _for_change(self, id)
        return Response(WebhookOut(services.replay(actor=self.actor, webhook=webhook, **self.body(ReplayIn))).data)


class Deliveries(ApiView):
    permissions = _READ

    @extend_schema(parameters=[DeliveryFilter], responses=DeliveryOut(many=True))
    def get(self, request: Request, id: UUID) -> Response:
        """What was sent, newest first: the last thousand, for 30 days."""
        webhook = selectors.webhook(self.actor, id)
        rows = selectors.deliveries(webhook).filter(**self.query(DeliveryFilter))
        return self.listed(DeliveryOut(self.page(rows), many=True).data)


class DeliveryResend(ApiView):
    permissions = _WRITE

    @extend_schema(request=None, responses=DeliveryOut)
    def post(self, request: Request, id: UUID, delivery: UUID) -> Response:
        """Once more, out of its turn, with the id it had."""
        webhook = _for_change(self, id)
        found = selectors.delivery(webhook, delivery)
        self.body()
        return Response(DeliveryOut(services.resend(actor=self.actor, webhook=webhook, delivery=found)).data)


def _for_change(view: ApiView, id: UUID) -> Webhook:
    return selectors.webhook(view.actor, id, Permission.WEBHOOK_WRITE)


def _tenant(actor: Actor, reference: str | None) -> Tenant | None:
    """The one that is named; else the actor's only one, or none for who may hear of all."""
    if reference is not None:
        return tenant_in(actor, reference, Permission.WEBHOOK_WRITE)
    if actor.can(Permission.WEBHOOK_WRITE):
        return None
    if len(actor.memberships) != 1:
        raise Invalid("Say for which tenant.", code="required", field="tenant")
    return tenancy.tenant(actor, next(iter(actor.memberships)), Permission.WEBHOOK_WRITE)
