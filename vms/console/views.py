"""The console's page, and the tickets it asks for."""

from __future__ import annotations

from uuid import UUID

from csp.constants import UNSAFE_INLINE
from csp.decorators import csp_update
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from portal.core.errors import DomainError
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from vms.console import bridge
from vms.services import console
from vms.web.fetch import vm_of
from vms.web.views.detail import context_of


@require_safe
@csp_update({"style-src-attr": [UNSAFE_INLINE]})  # type: ignore[arg-type]  # xterm.js colours single cells so
def console_page(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    """`?kind=` chooses the tab."""
    vm, operation = vm_of(request, slug, vm_id)
    actor_of(request).require(Permission.VM_CONSOLE, vm.tenant_id)
    wanted = request.GET.get("kind")
    context = context_of(request, vm, operation, "vm-console")
    context["kind"] = wanted if wanted in console.KINDS else console.KINDS[0]
    return render(request, "vms/console.html", context)


@require_POST
@never_cache
def console_ticket(request: HttpRequest, slug: str, vm_id: UUID) -> JsonResponse:
    """`{"url", "expires_at"}`, or `{"detail", "code"}` and the refusal's facts, with its HTTP status."""
    kind, session_key = request.POST.get("kind", ""), request.session.session_key or ""
    try:
        vm, _ = vm_of(request, slug, vm_id)
        secret = console.issue_ticket(actor=actor_of(request), vm=vm, kind=kind, session_key=session_key)
    except DomainError as error:
        return JsonResponse({**error.extra, "detail": error.detail, "code": error.code}, status=error.status)
    expires_at = timezone.now() + console.LIFETIME
    return JsonResponse({"url": bridge.address_of(secret), "expires_at": expires_at.isoformat()})
