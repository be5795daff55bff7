"""What hosts used."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from hosts import metrics, selectors
from portal.api.serializers import Choice, Input
from portal.api.views import ApiView
from portal.tenancy.roles import Permission


class MetricsFilter(Input):
    span = Choice(list(metrics.SPANS), required=False, default="hour", help_text="Until now.")


class MetricsOut(serializers.Serializer[Any]):
    """Lists of the same length as `at`; null where nothing was measured."""

    step = serializers.IntegerField(help_text="Seconds that each value stands for.")

    def get_fields(self) -> dict[str, Any]:
        """With `from`, which is a word of Python's."""
        moment = "Seconds since 1970."
        return {
            **super().get_fields(),
            "from": serializers.IntegerField(help_text=moment),
            "to": serializers.IntegerField(help_text=moment),
            "at": serializers.ListField(child=serializers.IntegerField(), help_text=moment),
            **{name: serializers.ListField(child=serializers.FloatField(allow_null=True)) for name in metrics.SERIES},
        }


class HostMetrics(ApiView):
    permissions = {"GET": Permission.HOST_READ}

    @extend_schema(parameters=[MetricsFilter], responses=MetricsOut)
    def get(self, request: Request, host: str) -> Response:
        """What a host used; waiting, disks and network are those of its guests."""
        found, span = selectors.host(self.actor, host), self.query(MetricsFilter)["span"]
        return Response(MetricsOut(selectors.used_by(found, span)).data)
