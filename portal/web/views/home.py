"""The front door."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.tenant import current_tenant


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """One's own tenant; for the provider's staff without one, the map of hosts."""
    actor, tenant = actor_of(request), current_tenant(request)
    if tenant is not None and tenant.pk in actor.memberships:
        sees_machines = actor.can(Permission.VM_READ, tenant.pk)
        return redirect("overview" if sees_machines else "quota", tenant.slug)
    if actor.is_provider or None in actor.bars:  # whom the gate then tells what is missing
        return redirect("cluster-list")
    return render(request, "portal/no_tenant.html")
