"""The list of machines, and what is done to many of them at once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from portal.core.errors import NotFound
from portal.operations.selectors import active_on_each
from portal.quotas import selectors as quotas
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import text_query
from portal.web.paging import page_of
from portal.web.presenters.meter import meters
from portal.web.tenant import tenant_of
from vms import selectors
from vms.web import presenters
from vms.web.fetch import rows_of, vm_of

WORDS = {
    "": "All",
    "running": "Running",
    "stopped": "Stopped",
    "paused": "Paused",
    "building": "Building",
    "error": "Error",
    "deleting": "Deleting",
}


@require_safe
def vm_list(request: HttpRequest, slug: str) -> HttpResponse:
    actor, tenant = actor_of(request), tenant_of(request, slug, Permission.VM_READ)
    search, status = text_query(request, "q"), request.GET.get("status", "")
    page = page_of(request, rows_of(request, tenant, search=search, status=status))
    active = active_on_each(vm.pk for vm in page.rows)
    context = {
        "tenant": tenant,
        "page": page,
        "rows": [presenters.row(actor, vm, active.get(vm.pk), slug) for vm in page.rows],
        "chips": _chips(search, status),
        "search": search,
        "status": status,
        "bin_count": selectors.in_bin(actor, tenant),
        "meters": meters(quotas.usage(actor, tenant)),
        **_rights(request, tenant),
    }
    return render(request, "vms/list.html", context)


@require_safe
def vm_row(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    """One row of the list, for a page that heard of news; 204 where the machine is gone, or in the bin."""
    tenant_of(request, slug, Permission.VM_READ)
    try:
        vm, operation = vm_of(request, slug, vm_id)
    except NotFound:
        return HttpResponse(status=204)
    if vm.is_binned:
        return HttpResponse(status=204)
    row = presenters.row(actor_of(request), vm, operation, slug)
    return render(request, "vms/_row.html", {"row": row, "tenant": vm.tenant, **_rights(request, vm.tenant)})


def _rights(request: HttpRequest, tenant: Tenant) -> dict[str, Any]:
    actor = actor_of(request)
    return {
        "may_write": actor.can(Permission.VM_WRITE, tenant.pk),
        "why_not": actor.why_not(Permission.VM_WRITE, tenant.pk),
        "create_url": reverse("vm-create", args=[tenant.slug]),
    }


def _chips(search: str, chosen: str) -> list[dict[str, Any]]:
    def url(status: str) -> str:
        return "?" + urlencode([(name, value) for name, value in (("q", search), ("status", status)) if value])

    return [{"label": label, "url": url(key), "is_current": key == chosen} for key, label in WORDS.items()]
