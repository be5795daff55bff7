"""What is asked of the leases of a tenant's machines."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.serializers import Choice, Input, Integer
from portal.api.views import ApiView
from portal.tenancy import selectors
from portal.tenancy.roles import Permission
from vms.lease import Demand, Terms
from vms.lease_selectors import terms_of
from vms.services import leases

_WORDS = {
    "demand": "none: its machines have no expiry date; demanded: each has one.",
    "longest_days": "The longest lease from now on; null for no limit.",
    "warn_days": "How long before its end people are told.",
    "off_days": "How long a machine is off before it goes to the bin.",
}
_DEMANDS = [str(demand) for demand in Demand]


class PolicyIn(Input):
    demand = Choice(_DEMANDS, help_text=_WORDS["demand"])
    longest_days = Integer(required=False, allow_null=True, default=None, help_text=_WORDS["longest_days"])
    warn_days = Integer(required=False, default=Terms().warn_days, help_text=_WORDS["warn_days"])
    off_days = Integer(required=False, default=Terms().off_days, help_text=_WORDS["off_days"])


class PolicyOut(serializers.Serializer[Any]):
    """What administrators ask of the machines of a tenant."""

    demand = serializers.ChoiceField(choices=_DEMANDS, help_text=_WORDS["demand"])
    longest_days = serializers.IntegerField(allow_null=True, help_text=_WORDS["longest_days"])
    warn_days = serializers.IntegerField(help_text=_WORDS["warn_days"])
    off_days = serializers.IntegerField(help_text=_WORDS["off_days"])


class LeasePolicy(ApiView):
    permissions = {"GET": Permission.QUOTA_READ, "PUT": Permission.QUOTA_WRITE}

    @extend_schema(responses=PolicyOut)
    def get(self, request: Request, tenant: str) -> Response:
        """Whether its machines have expiry dates, and what happens at these."""
        found = selectors.tenant(self.actor, tenant, Permission.QUOTA_READ)
        self.query()
        return Response(PolicyOut(terms_of(found.pk)).data)

    @extend_schema(request=PolicyIn, responses=PolicyOut)
    def put(self, request: Request, tenant: str) -> Response:
        """Set all of it. `none` removes the dates that there are, `demanded` gives one to each. For administrators."""
        found = selectors.tenant(self.actor, tenant, Permission.QUOTA_WRITE)
        wanted = self.body(PolicyIn)
        terms = Terms(**{**wanted, "demand": Demand(wanted["demand"])})
        return Response(PolicyOut(leases.set_policy(actor=self.actor, tenant=found, terms=terms)).data)
