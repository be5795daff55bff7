"""Suspending and closing tenants, and what one takes along."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.serializers import Boolean, Input, Integer, Text
from portal.api.tenants import TenantOut
from portal.api.views import ApiView
from portal.tenancy import selectors
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from vms import tenant_export
from vms.services import tenants


class SuspendIn(Input):
    reason = Text(max_length=300, help_text="Its members read it.")
    stop_machines = Boolean(default=True)


class ResumeIn(Input):
    start_machines = Boolean(default=True, help_text="Those that the suspension stopped.")


class CloseIn(Input):
    confirmation = Text(max_length=63, help_text="Its slug.")
    days = Integer(default=tenants.DAYS, help_text="After which all that it has is deleted.")


class _TenantAction(ApiView):
    needs: ClassVar[Permission] = Permission.TENANT_SUSPEND

    def tenant(self, reference: str) -> Tenant:
        return selectors.any_tenant(self.actor, reference, self.needs)

    def answer(self, tenant: Tenant) -> Response:
        return Response(TenantOut(tenant, context={"actor": self.actor}).data)


class TenantSuspend(_TenantAction):
    permissions = {"POST": Permission.TENANT_SUSPEND}

    @extend_schema(request=SuspendIn, responses=TenantOut)
    def post(self, request: Request, tenant: str) -> Response:
        """Members read and change nothing; machines are stopped by operations of their own. For administrators."""
        found = self.tenant(tenant)
        return self.answer(tenants.suspend(actor=self.actor, tenant=found, **self.body(SuspendIn)))


class TenantResume(_TenantAction):
    permissions = {"POST": Permission.TENANT_SUSPEND}

    @extend_schema(request=ResumeIn, responses=TenantOut)
    def post(self, request: Request, tenant: str) -> Response:
        """End the suspension. For administrators."""
        found = self.tenant(tenant)
        return self.answer(tenants.resume(actor=self.actor, tenant=found, **self.body(ResumeIn)))


class TenantClose(_TenantAction):
    permissions = {"POST": Permission.TENANT_CLOSE}
    needs = Permission.TENANT_CLOSE

    @extend_schema(request=CloseIn, responses=TenantOut)
    def post(self, request: Request, tenant: str) -> Response:
        """Its machines go to the bin, and all that it has is deleted after `days`. For owners and administrators."""
        found = self.tenant(tenant)
        return self.answer(tenants.close(actor=self.actor, tenant=found, **self.body(CloseIn)))


class TenantReopen(_TenantAction):
    permissions = {"POST": Permission.TENANT_SUSPEND}

    @extend_schema(request=None, responses=TenantOut)
    def post(self, request: Request, tenant: str) -> Response:
        """Bring a closed one back, while it has not been purged. For administrators."""
        found = self.tenant(tenant)
        self.body()
        return self.answer(tenants.reopen(actor=self.actor, tenant=found))


class TenantExport(_TenantAction):
    permissions = {"GET": Permission.TENANT_CLOSE}
    needs = Permission.TENANT_CLOSE

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, tenant: str) -> Response:
        """What it has, in one document, without secrets. For owners and administrators."""
        self.query()
        exported: dict[str, Any] = tenant_export.document(self.actor, self.tenant(tenant))
        return Response(exported)
