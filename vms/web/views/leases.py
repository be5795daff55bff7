"""Extending a machine's lease with one click, and what administrators ask of a tenant's."""

from __future__ import annotations

from dataclasses import asdict
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from portal.tenancy import selectors
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from vms.lease_selectors import terms_of
from vms.services import leases
from vms.web.fetch import vm_of
from vms.web.leases import PolicyForm
from vms.web.views.detail import back


@require_POST
def vm_extend(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    vm, _ = vm_of(request, slug, vm_id)
    with refusals_as_notice(request):
        leases.extend(actor=actor_of(request), vm=vm)
        messages.success(request, f"Its lease ends on {vm.expires_at:%Y-%m-%d}.")
    return redirect(back(request, slug, vm_id))


@require_http_methods(["GET", "HEAD", "POST"])
def provider_tenant_leases(request: HttpRequest, slug: str) -> HttpResponse:
    actor = actor_of(request)
    tenant = selectors.any_tenant(actor, slug)
    actor.require(Permission.QUOTA_WRITE)
    if request.method == "POST":
        form = PolicyForm(request.POST)
        if form.is_valid():
            with refusals_in(form):
                leases.set_policy(actor=actor, tenant=tenant, terms=form.terms)
                messages.success(request, "It counts from now on.")
                return redirect("provider-tenant", slug)
    else:
        form = PolicyForm(initial=asdict(terms_of(tenant.pk)))
    cancel_url = reverse("provider-tenant", args=[slug])
    context = {"form": form, "of": tenant, "submit": "Save", "cancel_url": cancel_url}
    return render(request, "vms/tenant_leases.html", context, status=status_of(form))
