"""Asking for more than the quota, and answering."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.references import tenant_in
from portal.api.serializers import Boolean, Choice, Input, Integer, Moment, Text
from portal.api.views import ApiView
from portal.quotas import consequences, requests
from portal.quotas.models import RESOURCES, IncreaseRequest, RequestState
from portal.tenancy import selectors
from portal.tenancy.roles import Permission

STATUSES = (*RequestState.values, "ended")


class ConsequenceOut(serializers.Serializer[Any]):
    resource = serializers.ChoiceField(choices=RESOURCES)
    used = serializers.IntegerField()
    limit = serializers.IntegerField(allow_null=True, help_text="The tenant's, now.")
    wanted = serializers.IntegerField()
    promised = serializers.IntegerField(allow_null=True, help_text="The limits of all tenants together.")
    promised_after = serializers.IntegerField(allow_null=True)
    capacity = serializers.IntegerField(
        allow_null=True, help_text="What there is to give; null where nothing bounds it."
    )
    over_commit = serializers.FloatField(allow_null=True)
    over_commit_after = serializers.FloatField(allow_null=True)


class RequestOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    tenant = serializers.CharField(source="tenant.slug")
    wanted = serializers.DictField(child=serializers.IntegerField(), help_text="Limits by resource.")
    reason = serializers.CharField()
    ends_at = serializers.DateTimeField(allow_null=True, help_text="When the limits fall back; null: never.")
    status = serializers.ChoiceField(choices=STATUSES)
    asked_by = serializers.CharField()
    decided_by = serializers.CharField(help_text="“rule” where nobody had to look.")
    decided_at = serializers.DateTimeField(allow_null=True)
    answer = serializers.CharField()
    created_at = serializers.DateTimeField()


class RequestDetailOut(RequestOut):
    """Context: `actor`."""

    consequences = serializers.SerializerMethodField(help_text="For the provider's staff; null for others.")

    @extend_schema_field(ConsequenceOut(many=True, allow_null=True))
    def get_consequences(self, request: IncreaseRequest) -> Any:
        if not self.context["actor"].can(Permission.HOST_READ):
            return None
        return ConsequenceOut(consequences.of(request), many=True).data


class WantedIn(Input):
    """Limits above those of now."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {resource: Integer(required=False) for resource in RESOURCES}


class RequestIn(Input):
    wanted = WantedIn()
    reason = Text(max_length=500)
    ends_at = Moment(required=False, allow_null=True, help_text="Left out, it is asked for for good.")


class RequestFilter(Input):
    tenant = Text(required=False, help_text="Slug or id.")
    state = Choice(RequestState.values, required=False)


class AnswerIn(Input):
    answer = Text(max_length=500, required=False, allow_blank=True, help_text="What the tenant is told.")


class TenantRequests(ApiView):
    permissions = {"POST": Permission.QUOTA_REQUEST}

    @extend_schema(request=RequestIn, responses={201: RequestDetailOut})
    def post(self, request: Request, tenant: str) -> Response:
        """Ask for more, with a reason. It may come back approved, where the provider's rule says so."""
        found = selectors.tenant(self.actor, tenant, Permission.QUOTA_REQUEST)
        made = requests.ask(actor=self.actor, tenant=found, **self.body(RequestIn))
        return self.created(_detail(self, made), f"/api/v1/quota-requests/{made.pk}")


class QuotaRequests(ApiView):
    permissions = {"GET": Permission.QUOTA_READ}

    @extend_schema(parameters=[RequestFilter], responses=RequestOut(many=True))
    def get(self, request: Request) -> Response:
        """Requests for more, newest first."""
        wanted = self.query(RequestFilter)
        tenant = tenant_in(self.actor, wanted.pop("tenant", None), Permission.QUOTA_READ)
        return self.listed(
            RequestOut(self.page(requests.requests(self.actor, tenant=tenant, **wanted)), many=True).data
        )


class QuotaRequestDetail(ApiView):
    permissions = {"GET": Permission.QUOTA_READ}

    @extend_schema(responses=RequestDetailOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One request; for the staff with what approving it means."""
        return Response(_detail(self, requests.request(self.actor, id)))


class QuotaRequestApprove(ApiView):
    permissions = {"POST": Permission.QUOTA_WRITE}

    @extend_schema(request=AnswerIn, responses=RequestDetailOut)
    def post(self, request: Request, id: UUID) -> Response:
        """Raise the limits until its end, or for good. For administrators."""
        asked = requests.request(self.actor, id, Permission.QUOTA_WRITE)
        return Response(_detail(self, requests.approve(actor=self.actor, asked=asked, **self.body(AnswerIn))))


class QuotaRequestRefuse(ApiView):
    permissions = {"POST": Permission.QUOTA_WRITE}

    @extend_schema(request=AnswerIn, responses=RequestDetailOut)
    def post(self, request: Request, id: UUID) -> Response:
        """Leave the limits as they are. For administrators."""
        asked = requests.request(self.actor, id, Permission.QUOTA_WRITE)
        return Response(_detail(self, requests.refuse(actor=self.actor, asked=asked, **self.body(AnswerIn))))


class QuotaRequestWithdraw(ApiView):
    permissions = {"POST": Permission.QUOTA_REQUEST}

    @extend_schema(request=None, responses=RequestDetailOut)
    def post(self, request: Request, id: UUID) -> Response:
        """Take it back before it is answered."""
        asked = requests.request(self.actor, id, Permission.QUOTA_REQUEST)
        self.body()
        return Response(_detail(self, requests.withdraw(actor=self.actor, asked=asked)))


class RuleIn(Input):
    is_active = Boolean()
    percent = Integer(help_text="By how much a limit may grow, of what it is without a grant.")
    days = Integer(help_text="For how long at most.")


class RuleOut(serializers.Serializer[Any]):
    is_active = serializers.BooleanField()
    percent = serializers.IntegerField()
    days = serializers.IntegerField()


class QuotaRule(ApiView):
    permissions = {"GET": Permission.HOST_READ, "PUT": Permission.QUOTA_WRITE}

    @extend_schema(responses=RuleOut)
    def get(self, request: Request) -> Response:
        """What is approved without anybody looking."""
        self.actor.require(Permission.HOST_READ)
        return Response(RuleOut(requests.rule()).data)

    @extend_schema(request=RuleIn, responses=RuleOut)
    def put(self, request: Request) -> Response:
        """Change that. What is promised to all must be there in any case."""
        self.actor.require(Permission.QUOTA_WRITE)
        return Response(RuleOut(requests.set_rule(actor=self.actor, **self.body(RuleIn))).data)


def _detail(view: ApiView, request: IncreaseRequest) -> Any:
    return RequestDetailOut(request, context={"actor": view.actor}).data
