"""Tenants, as the provider sees them."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from portal.quotas import selectors as quotas
from portal.quotas import services as quota_services
from portal.quotas.models import RESOURCES
from portal.quotas.words import amount
from portal.tenancy import selectors, services
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_in, status_of, text_query
from portal.web.paging import Page, page_of
from portal.web.presenters.meter import NAMES, UNITS, meters


class TenantForm(forms.Form):
    name = forms.CharField(max_length=100)
    slug = forms.CharField(
        max_length=63, help_text="Part of the addresses of its pages: lower-case letters, digits and hyphens."
    )


class QuotaForm(forms.Form):
    """An empty field is no limit."""

    vms, vcpus, memory_mib, disk_gib, snapshots, image_mib, backup_mib = (
        forms.IntegerField(
            label=NAMES[resource] + UNITS.get(resource, ""),
            min_value=0,
            required=False,
            widget=forms.NumberInput(attrs={"placeholder": "No limit"}),
        )
        for resource in RESOURCES
    )


@require_safe
def provider_tenants(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    actor.require(Permission.HOST_READ)
    search = text_query(request, "q")
    rows = selectors.all_tenants(actor)
    page = page_of(request, rows.filter(slug__icontains=search) if search else rows)
    context = {"page": page, "rows": _with_use(actor, page), "search": search, "may_write": actor.is_admin}
    return render(request, "portal/provider_tenants.html", context)


def _with_use(actor: Actor, page: Page[Tenant]) -> list[tuple[Tenant, dict[str, str]]]:
    usages = quotas.usages(actor, page.rows)
    words = [{name: amount(name, usage.used[name]) for name in RESOURCES} for usage in usages]
    return list(zip(page.rows, words, strict=True))


@require_http_methods(["GET", "HEAD", "POST"])
def provider_tenant_create(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    actor.require(Permission.TENANT_WRITE)
    form = TenantForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            tenant = services.create_tenant(actor=actor, **form.cleaned_data)
            messages.success(request, f"{tenant.name} was created. Add its first owner.")
            return redirect("provider-tenant", tenant.slug)
    context = {"form": form, "submit": "Create tenant", "cancel_url": reverse("provider-tenants")}
    return render(request, "portal/provider_tenant_create.html", context, status=status_of(form))


@require_http_methods(["GET", "HEAD", "POST"])
def provider_tenant(request: HttpRequest, slug: str) -> HttpResponse:
    """One tenant with its members; POST sets its quota."""
    actor = actor_of(request)
    tenant = selectors.any_tenant(actor, slug)
    actor.require(Permission.HOST_READ)
    usage = quotas.usage(actor, tenant)
    form = QuotaForm(request.POST or None, initial=dict(usage.lasting))
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            quota_services.set_limits(actor=actor, tenant=tenant, limits=form.cleaned_data)
            messages.success(request, "The quota was changed.")
            return redirect("provider-tenant", slug)
    context = {
        "tenant": tenant,
        "form": form,
        "meters": meters(usage),
        "members": selectors.members(actor, tenant)[:100],
        "may_write": actor.can(Permission.QUOTA_WRITE, tenant.pk),
        "may_suspend": actor.can(Permission.TENANT_SUSPEND),
        "why_not": actor.why_not(Permission.QUOTA_WRITE),
    }
    return render(request, "portal/provider_tenant.html", context, status=status_of(form))
