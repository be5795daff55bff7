"""Plans: what a change comes to before it is made, and making it as planned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from hosts.service_class import ServiceClass
from portal.api.problems import ProblemSerializer, problem
from portal.api.serializers import Boolean, Choice, Input, NoBody, Text
from portal.api.tenants import LimitsIn, LimitsOut, QuotaOut, UsedOut, quota_of
from portal.api.views import ApiView
from portal.tenancy.roles import Permission
from vms.api.serializers import AcceptedOut, CloneIn, MigrateIn, ResizeIn, VMIn
from vms.api.views import vm_data
from vms.api.volumes import GrowIn, VolumeAcceptedOut, VolumeIn, volume_data
from vms.models import Plan
from vms.planning import services
from vms.planning.kinds import KINDS


class DeleteIn(Input):
    """What DELETE takes in its query."""

    purge = Boolean(required=False, default=False, help_text="At once and for good: no bin.")


BODIES: Mapping[str, type[Input]] = {
    "vm.create": VMIn,
    "vm.resize": ResizeIn,
    "vm.clone": CloneIn,
    "vm.delete": DeleteIn,
    "vm.migrate": MigrateIn,
    "volume.create": VolumeIn,
    "volume.grow": GrowIn,
    "volume.delete": NoBody,
    "quota.change": LimitsIn,
}
assert BODIES.keys() == KINDS.keys()


@extend_schema_field(
    PolymorphicProxySerializer(
        "PlanBody", serializers=list(dict.fromkeys(BODIES.values())), resource_type_field_name=None
    )
)
class Body(serializers.DictField):
    """That of the call that is planned."""


class PlanIn(Input):
    action = Choice(list(BODIES))
    target = Text(
        max_length=63,
        required=False,
        allow_blank=True,
        default="",
        help_text="The id of the machine or volume, or the tenant's slug; none for what is new.",
    )
    body = Body(required=False, default=dict, help_text="As the call itself takes it.")


class RateOut(serializers.Serializer[Any]):
    change = serializers.CharField(help_text="What the change adds; below nothing where it saves.")
    before = serializers.CharField(help_text="Of all that the tenant holds now.")
    after = serializers.CharField()


class PlanPriceOut(serializers.Serializer[Any]):
    """Money as text, while nothing else changes. A month is 730 hours."""

    currency = serializers.CharField()
    hour = RateOut(help_text="With up to ten decimals.")
    month = RateOut(help_text="In the currency's smallest unit.")


class QuotaThenOut(serializers.Serializer[Any]):
    limits = LimitsOut()
    used = UsedOut()


class PlanQuotaOut(serializers.Serializer[Any]):
    before = QuotaThenOut()
    after = QuotaThenOut(allow_null=True, help_text="Once it is done; null where it is refused.")


class PlanPlacementOut(serializers.Serializer[Any]):
    fits = serializers.BooleanField()
    service_class = serializers.ChoiceField([str(each) for each in ServiceClass], allow_null=True)
    storage_class = serializers.CharField(allow_null=True, help_text="Slug.")
    host = serializers.CharField(allow_null=True, help_text="For the provider's staff; null for everybody else.")
    refused = serializers.DictField(
        child=serializers.CharField(), allow_null=True, help_text="Why not, by host; for the provider's staff."
    )


class PlanOut(serializers.Serializer[Any]):
    """What a change comes to."""

    id = serializers.UUIDField()
    action = serializers.ChoiceField(list(BODIES))
    target = serializers.CharField()
    tenant = serializers.CharField(source="tenant.slug")
    possible = serializers.SerializerMethodField(help_text="Whether it would be accepted now.")
    refusal = serializers.SerializerMethodField(help_text="Why not: what the call itself would answer.")
    help = serializers.ListField(source="told.help", child=serializers.CharField(), help_text="What would do instead.")
    price = PlanPriceOut(
        source="told.price", allow_null=True, help_text="null where it is refused, or not yours to read."
    )
    quota = PlanQuotaOut(source="told.quota")
    placement = PlanPlacementOut(source="told.placement", allow_null=True, help_text="null where nothing is placed.")
    warnings = serializers.ListField(source="told.warnings", child=serializers.CharField())
    irreversible = serializers.ListField(
        source="told.irreversible", child=serializers.CharField(), help_text="What cannot be undone."
    )
    expires_at = serializers.DateTimeField(help_text="Until then it can be applied, once.")
    applied_at = serializers.DateTimeField(allow_null=True)
    operation = serializers.UUIDField(source="operation_id", allow_null=True, help_text="What applying it began.")

    def get_possible(self, plan: Plan) -> bool:
        return plan.told["refusal"] is None

    @extend_schema_field(ProblemSerializer(allow_null=True))
    def get_refusal(self, plan: Plan) -> dict[str, Any] | None:
        refusal = plan.told["refusal"]
        if refusal is None:
            return None
        code, detail, field = refusal["code"], refusal["detail"], refusal["field"]
        errors = [{"field": field, "code": code, "detail": detail}] if field else []
        return problem(refusal["status"], code, detail, errors, refusal["extra"])


class Plans(ApiView):
    permissions = {"POST": Permission.QUOTA_READ}

    @extend_schema(request=PlanIn, responses={201: PlanOut})
    def post(self, request: Request) -> Response:
        """What a create, resize, clone, delete, move, growth or change of limits would come to now. Nothing is changed.

        It needs the rights of the call that is planned; the answer can be applied for ten minutes.
        """
        wanted = self.body(PlanIn)
        plan = services.plan(actor=self.actor, **{**wanted, "body": _valid(BODIES[wanted["action"]], wanted["body"])})
        return self.created(PlanOut(plan).data, f"/api/v1/plans/{plan.pk}")


class PlanDetail(ApiView):
    permissions = {"GET": Permission.QUOTA_READ}

    @extend_schema(responses=PlanOut)
    def get(self, request: Request, id: UUID) -> Response:
        """A plan of yours."""
        return Response(PlanOut(services.plan_of(self.actor, id)).data)


_ACCEPTED = PolymorphicProxySerializer(
    "PlanAccepted", serializers=[AcceptedOut, VolumeAcceptedOut], resource_type_field_name=None
)


class PlanApply(ApiView):
    permissions = {"POST": Permission.QUOTA_READ}

    @extend_schema(request=None, responses={200: QuotaOut, 202: _ACCEPTED})
    def post(self, request: Request, id: UUID) -> Response:
        """Make the change as it was planned. The answer is that of the call itself.

        Where it would come to something else by now, it is refused with `plan_outdated`, and `changed` says why.
        """
        self.body()
        plan = services.plan_of(self.actor, id)
        result = services.apply(actor=self.actor, plan=plan)
        if result.operation is None:
            return Response(quota_of(self.actor, plan.tenant))
        if result.volume is not None:
            return self.accepted(result.operation, volume=volume_data(self.actor, result.volume))
        assert result.vm is not None
        return self.accepted(result.operation, vm=vm_data(self.actor, result.vm, result.operation))


def _valid(serializer: type[Input], body: Any) -> dict[str, Any]:
    """Refusals name the fields of `body`."""
    found = serializer(data=body)
    try:
        found.is_valid(raise_exception=True)
    except ValidationError as error:
        raise ValidationError({"body": error.detail}) from error
    return dict(found.validated_data)
