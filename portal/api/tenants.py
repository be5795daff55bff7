"""Tenants, their members and their quotas."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.serializers import Boolean, Choice, Input, Integer, Text
from portal.api.views import ApiView
from portal.quotas import selectors as quotas
from portal.quotas.models import RESOURCES
from portal.quotas.selectors import Usage
from portal.quotas.services import set_limits
from portal.tenancy import selectors, services
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission, Role


class TenantIn(Input):
    name = Text(max_length=100)
    slug = Text(max_length=63, help_text="A DNS label: lower-case letters, digits and hyphens.")


class TenantChange(Input):
    """What is left out stays as it is."""

    name = Text(max_length=100, required=False)
    needs_second_factor = Boolean(required=False, help_text="Whether membership is worth anything without one.")


class TenantOut(serializers.Serializer[Any]):
    """A tenant, and what you may do in it."""

    # Context: `actor`.
    id = serializers.UUIDField()
    slug = serializers.CharField()
    name = serializers.CharField()
    status = serializers.ChoiceField(choices=["active", "suspended", "closed", "purged"])
    suspended_for = serializers.CharField(help_text="The reason, where it is suspended.")
    needs_second_factor = serializers.BooleanField()
    purge_at = serializers.DateTimeField(allow_null=True, help_text="When what a closed one had is deleted.")
    role = serializers.SerializerMethodField(help_text="Yours in it; null for the provider's staff.")
    created_at = serializers.DateTimeField()

    def get_role(self, tenant: Tenant) -> str | None:
        role: Role | None = self.context["actor"].memberships.get(tenant.pk)
        return role


class Tenants(ApiView):
    permissions = {"GET": Permission.TENANT_READ, "POST": Permission.TENANT_WRITE}

    @extend_schema(responses=TenantOut(many=True))
    def get(self, request: Request) -> Response:
        """The tenants you belong to; for the provider's staff all of them."""
        self.query()
        return self.listed(TenantOut(self.page(selectors.tenants(self.actor)), many=True, context=_by(self)).data)

    @extend_schema(request=TenantIn, responses={201: TenantOut})
    def post(self, request: Request) -> Response:
        """A new tenant with the default quota. For administrators."""
        self.actor.require(Permission.TENANT_WRITE)
        tenant = services.create_tenant(actor=self.actor, **self.body(TenantIn))
        return self.created(TenantOut(tenant, context=_by(self)).data, f"/api/v1/tenants/{tenant.slug}")


class TenantDetail(ApiView):
    permissions = {"GET": Permission.TENANT_READ, "PATCH": Permission.TENANT_WRITE}

    @extend_schema(responses=TenantOut)
    def get(self, request: Request, tenant: str) -> Response:
        """One tenant, by slug or id."""
        return Response(TenantOut(selectors.tenant(self.actor, tenant), context=_by(self)).data)

    @extend_schema(request=TenantChange, responses=TenantOut)
    def patch(self, request: Request, tenant: str) -> Response:
        """Rename it, or ask its members for a second factor; the slug stays."""
        found = selectors.tenant(self.actor, tenant, Permission.TENANT_WRITE)
        wanted = self.body(TenantChange)
        if "name" in wanted:
            services.rename_tenant(actor=self.actor, tenant=found, name=wanted["name"])
        if "needs_second_factor" in wanted:
            services.demand_second_factor(actor=self.actor, tenant=found, demanded=wanted["needs_second_factor"])
        return Response(TenantOut(found, context=_by(self)).data)


class MemberIn(Input):
    role = Choice([role.value for role in Role])


class MemberOut(serializers.Serializer[Any]):
    username = serializers.CharField(source="user.username")
    role = serializers.ChoiceField(choices=[role.value for role in Role])
    since = serializers.DateTimeField(source="created_at")


class Members(ApiView):
    permissions = {"GET": Permission.MEMBER_READ}

    @extend_schema(responses=MemberOut(many=True))
    def get(self, request: Request, tenant: str) -> Response:
        """Who belongs to it, and as what."""
        found = selectors.tenant(self.actor, tenant, Permission.MEMBER_READ)
        self.query()
        return self.listed(MemberOut(self.page(selectors.members(self.actor, found)), many=True).data)


class MemberDetail(ApiView):
    permissions = {"PUT": Permission.MEMBER_WRITE, "DELETE": Permission.MEMBER_WRITE}

    @extend_schema(request=MemberIn, responses=MemberOut)
    def put(self, request: Request, tenant: str, username: str) -> Response:
        """Add somebody who has an account here, or change their role."""
        found = selectors.tenant(self.actor, tenant, Permission.MEMBER_WRITE)
        member = services.set_member(actor=self.actor, tenant=found, username=username, **self.body(MemberIn))
        return Response(MemberOut(member).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, tenant: str, username: str) -> Response:
        """Their rights end with their next request."""
        found = selectors.tenant(self.actor, tenant, Permission.MEMBER_WRITE)
        member = selectors.member(self.actor, found, username)
        services.remove_member(actor=self.actor, tenant=found, membership_id=member.pk)
        return Response(status=204)


class LimitsIn(Input):
    """Those that are left out stay as they are; null is unlimited."""

    vms = Integer(required=False, allow_null=True)
    vcpus = Integer(required=False, allow_null=True)
    memory_mib = Integer(required=False, allow_null=True)
    disk_gib = Integer(required=False, allow_null=True)
    snapshots = Integer(required=False, allow_null=True)
    image_mib = Integer(required=False, allow_null=True)
    backup_mib = Integer(required=False, allow_null=True)


class LimitsOut(serializers.Serializer[Any]):
    vms = serializers.IntegerField(allow_null=True)
    vcpus = serializers.IntegerField(allow_null=True)
    memory_mib = serializers.IntegerField(allow_null=True)
    disk_gib = serializers.IntegerField(allow_null=True)
    snapshots = serializers.IntegerField(allow_null=True)
    image_mib = serializers.IntegerField(allow_null=True)
    backup_mib = serializers.IntegerField(allow_null=True)


class UsedOut(serializers.Serializer[Any]):
    vms = serializers.IntegerField()
    vcpus = serializers.IntegerField()
    memory_mib = serializers.IntegerField()
    disk_gib = serializers.IntegerField()
    snapshots = serializers.IntegerField()
    image_mib = serializers.IntegerField()
    backup_mib = serializers.IntegerField()


class QuotaOut(serializers.Serializer[Any]):
    tenant = serializers.CharField(help_text="Slug.")
    limits = LimitsOut(help_text="null is unlimited.")
    used = UsedOut()


class Quotas(ApiView):
    permissions = {"GET": Permission.QUOTA_READ}

    @extend_schema(responses=QuotaOut(many=True))
    def get(self, request: Request) -> Response:
        """Limits and use of each tenant that you see."""
        self.query()
        page = self.page(selectors.tenants(self.actor))
        usages = quotas.usages(self.actor, page)
        return self.listed([_quota(tenant, usage) for tenant, usage in zip(page, usages, strict=True)])


class QuotaDetail(ApiView):
    permissions = {"GET": Permission.QUOTA_READ, "PUT": Permission.QUOTA_WRITE}

    @extend_schema(responses=QuotaOut)
    def get(self, request: Request, tenant: str) -> Response:
        """What the tenant may use, and what it uses."""
        found = selectors.tenant(self.actor, tenant, Permission.QUOTA_READ)
        return Response(quota_of(self.actor, found))

    @extend_schema(request=LimitsIn, responses=QuotaOut)
    def put(self, request: Request, tenant: str) -> Response:
        """Set limits. Below present use is allowed: it blocks growth and harms nothing that exists."""
        found = selectors.tenant(self.actor, tenant, Permission.QUOTA_WRITE)
        set_limits(actor=self.actor, tenant=found, limits=self.body(LimitsIn))
        return Response(quota_of(self.actor, found))


def quota_of(actor: Actor, tenant: Tenant) -> dict[str, Any]:
    (usage,) = quotas.usages(actor, [tenant])
    return _quota(tenant, usage)


def _quota(tenant: Tenant, usage: Usage) -> dict[str, Any]:
    limits = {name: usage.limits[name] for name in RESOURCES}
    return {"tenant": tenant.slug, "limits": limits, "used": dict(usage.used)}


def _by(view: ApiView) -> dict[str, Any]:
    return {"actor": view.actor}
