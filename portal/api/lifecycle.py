"""Tenants as a billing system keeps them: by the name it has for them, and said again as often as it likes."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.serializers import Input, Text
from portal.api.tenants import LimitsIn, LimitsOut, UsedOut
from portal.api.views import ApiView
from portal.quotas import selectors as quotas
from portal.quotas.models import RESOURCES
from portal.tenancy import lifecycle
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission


class ProvidedTenantIn(Input):
    """What it is to be. What is left out stays as it is; a new one needs name and slug."""

    name = Text(max_length=100, required=False)
    slug = Text(max_length=63, required=False, help_text="Of a new one; it never changes.")
    quota = LimitsIn(required=False)


class ProvidedTenantOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    external_id = serializers.CharField()
    slug = serializers.CharField()
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    limits = LimitsOut()
    used = UsedOut()


class TenantByExternalId(ApiView):
    permissions = {"GET": Permission.TENANT_READ, "PUT": Permission.TENANT_WRITE}

    @extend_schema(responses=ProvidedTenantOut)
    def get(self, request: Request, external_id: str) -> Response:
        """The tenant that a billing system calls this. For the provider's staff."""
        return Response(_shown(self.actor, lifecycle.by_external_id(self.actor, external_id)))

    @extend_schema(request=ProvidedTenantIn, responses={200: ProvidedTenantOut, 201: ProvidedTenantOut})
    def put(self, request: Request, external_id: str) -> Response:
        """Make it so: created where there is none (201), else changed where it differs. Said again, it does nothing."""
        self.actor.require(Permission.TENANT_WRITE)
        wanted = self.body(ProvidedTenantIn)
        tenant, is_new = lifecycle.provide(actor=self.actor, external_id=external_id, **wanted)
        return Response(_shown(self.actor, tenant), status=201 if is_new else 200)


def _shown(actor: Actor, tenant: Tenant) -> dict[str, Any]:
    (usage,) = quotas.usages(actor, [tenant])
    limits = {name: usage.limits[name] for name in RESOURCES}
    return dict(
        ProvidedTenantOut(
            {
                **{name: getattr(tenant, name) for name in ("id", "external_id", "slug", "name", "created_at")},
                "limits": limits,
                "used": dict(usage.used),
            }
        ).data
    )
