"""Decisions on where machines run, for the provider's staff."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from hosts import selectors
from portal.api.views import ApiView
from portal.tenancy.roles import Permission


class PlacementOut(serializers.Serializer[Any]):
    """Where a machine was placed (`host` is empty where none took it), and why each other host was not chosen."""

    id = serializers.UUIDField()
    title = serializers.CharField(help_text="Tenant and name.")
    host = serializers.CharField(source="host_name")
    reason = serializers.CharField(help_text="Why this host came first, or what was told where none did.")
    wanted = serializers.DictField()
    considered = serializers.IntegerField(help_text="How many hosts were looked at.")
    refused = serializers.DictField(
        source="reasons",
        child=serializers.DictField(child=serializers.CharField()),
        help_text="By constraint, then by host.",
    )
    created_at = serializers.DateTimeField()


class RefusedPlacements(ApiView):
    permissions = {"GET": Permission.HOST_READ}

    @extend_schema(responses=PlacementOut(many=True))
    def get(self, request: Request) -> Response:
        """Machines that no host took, newest first: the newest 200 are kept."""
        rows = selectors.refused_placements(self.actor)
        self.query()
        return self.listed(PlacementOut(self.page(rows), many=True).data)
