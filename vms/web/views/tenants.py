"""Suspending and closing a tenant, from its page among the provider's."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from portal.core.errors import Invalid
from portal.tenancy import selectors
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice
from vms import tenant_export
from vms.services import tenants


@require_POST
def provider_tenant_state(request: HttpRequest, slug: str) -> HttpResponse:
    """POST `intent`: suspend (`reason`, `stop_machines`), resume, close (`confirmation`), reopen."""
    actor = actor_of(request)
    tenant = selectors.any_tenant(actor, slug)
    actor.require(Permission.TENANT_SUSPEND)
    change = INTENTS.get(request.POST.get("intent", ""))
    if change is None:
        raise Invalid("Choose what to do.", field="intent")
    with refusals_as_notice(request):
        messages.success(request, change(request, actor, tenant))
    return redirect("provider-tenant", slug)


@require_safe
def provider_tenant_export(request: HttpRequest, slug: str) -> JsonResponse:
    actor = actor_of(request)
    tenant = selectors.any_tenant(actor, slug, Permission.TENANT_CLOSE)
    response = JsonResponse(tenant_export.document(actor, tenant))
    response["Content-Disposition"] = f'attachment; filename="{tenant.slug}.json"'
    return response


def _suspend(request: HttpRequest, actor: Actor, tenant: Tenant) -> str:
    reason, stop = request.POST.get("reason", ""), "stop_machines" in request.POST
    tenants.suspend(actor=actor, tenant=tenant, reason=reason, stop_machines=stop)
    return f"{tenant.name} is suspended."


def _resume(request: HttpRequest, actor: Actor, tenant: Tenant) -> str:
    tenants.resume(actor=actor, tenant=tenant)
    return f"{tenant.name} goes on."


def _close(request: HttpRequest, actor: Actor, tenant: Tenant) -> str:
    tenants.close(actor=actor, tenant=tenant, confirmation=request.POST.get("confirmation", ""))
    return f"{tenant.name} is closed. Until its end it can be reopened."


def _reopen(request: HttpRequest, actor: Actor, tenant: Tenant) -> str:
    tenants.reopen(actor=actor, tenant=tenant)
    return f"{tenant.name} is open again. Its machines lie in the bin."


INTENTS: dict[str, Callable[[HttpRequest, Actor, Tenant], str]] = {
    "suspend": _suspend,
    "resume": _resume,
    "close": _close,
    "reopen": _reopen,
}
