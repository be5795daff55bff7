"""Where hosts and database differ, for the provider's staff."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.operations import OperationBrief, OperationOut
from portal.api.serializers import Choice, Input, Text
from portal.api.views import ApiView
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import selectors
from vms.api.serializers import VerdictOut
from vms.audit.findings import Kind
from vms.models import Drift, DriftState
from vms.resolutions import Resolution
from vms.services.drift import resolve


class DriftFilter(Input):
    state = Choice([str(state) for state in DriftState], required=False, help_text="All where left out.")
    host = Text(max_length=63, required=False, help_text="A host's name.")


class ResolutionsOut(serializers.Serializer[Any]):
    """What you may do about it now, and why not."""

    def get_fields(self) -> dict[str, Any]:
        return {str(resolution): VerdictOut() for resolution in Resolution}


class DriftOut(serializers.Serializer[Any]):
    """A difference between a host and what the portal knows of it."""

    # Context: `actor`, and `operations`: what is under way, by id of drift.
    id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=[str(kind) for kind in Kind])
    host = serializers.CharField(source="host.name", default=None, allow_null=True, help_text="Null: in the books.")
    object = serializers.CharField(help_text="What it is about, by its name on the host or in the database.")
    vm = serializers.UUIDField(source="vm_id", allow_null=True)
    tenant = serializers.CharField(source="vm.tenant.slug", default=None, allow_null=True)
    detail = serializers.CharField()
    evidence = serializers.DictField(help_text="What “is” and what “should” be.")
    state = serializers.ChoiceField(choices=DriftState.values)
    first_seen = serializers.DateTimeField()
    last_seen = serializers.DateTimeField()
    resolved_at = serializers.DateTimeField(allow_null=True)
    actions = serializers.SerializerMethodField()
    operation = serializers.SerializerMethodField(help_text="What works on it, or null.")

    @extend_schema_field(ResolutionsOut)
    def get_actions(self, drift: Drift) -> dict[str, dict[str, Any]]:
        verdicts = selectors.resolutions(self.context["actor"], drift, self._operation(drift))
        return {str(name): {"allowed": found.allowed, "reason": found.reason} for name, found in verdicts.items()}

    @extend_schema_field(OperationBrief(allow_null=True))
    def get_operation(self, drift: Drift) -> dict[str, Any] | None:
        operation = self._operation(drift)
        return dict(OperationBrief(operation).data) if operation else None

    def _operation(self, drift: Drift) -> Operation | None:
        found: Operation | None = self.context["operations"].get(drift.pk)
        return found


class DriftAcceptedOut(serializers.Serializer[Any]):
    """Accepted: follow `operation`, whose address is in the Location header."""

    operation = OperationOut()
    drift = DriftOut()


def drift_data(actor: Actor, drift: Drift) -> dict[str, Any]:
    return dict(DriftOut(drift, context={"actor": actor, "operations": selectors.busy_with([drift])}).data)


class DriftList(ApiView):
    permissions = {"GET": Permission.HOST_READ}

    @extend_schema(parameters=[DriftFilter], responses=DriftOut(many=True))
    def get(self, request: Request) -> Response:
        """What differs, newest first."""
        rows = selectors.drift(self.actor, **self.query(DriftFilter))
        page = self.page(rows)
        context = {"actor": self.actor, "operations": selectors.busy_with(page)}
        return self.listed(DriftOut(page, many=True, context=context).data)


class DriftDetail(ApiView):
    permissions = {"GET": Permission.HOST_READ}

    @extend_schema(responses=DriftOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One difference between a host and the database."""
        return Response(drift_data(self.actor, selectors.one_drift(self.actor, id)))


class DriftResolve(ApiView):
    permissions = {"POST": Permission.HOST_WRITE}
    resolution = Resolution.RESTORE

    @extend_schema(request=None, responses={202: DriftAcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Resolve it in this way, as far as its `actions` allow that."""
        drift = selectors.one_drift(self.actor, id, Permission.HOST_WRITE)
        self.body()
        operation = resolve(actor=self.actor, drift=drift, resolution=self.resolution)
        assert operation is not None
        return self.accepted(operation, drift=drift_data(self.actor, drift))


class DriftMark(ApiView):
    permissions = {"POST": Permission.HOST_WRITE}
    resolution = Resolution.IGNORE

    @extend_schema(request=None, responses=DriftOut)
    def post(self, request: Request, id: UUID) -> Response:
        """Ignore: it stays as it is, and nobody is told of it. Reopen: somebody is."""
        drift = selectors.one_drift(self.actor, id, Permission.HOST_WRITE)
        self.body()
        resolve(actor=self.actor, drift=drift, resolution=self.resolution)
        return Response(drift_data(self.actor, drift))
