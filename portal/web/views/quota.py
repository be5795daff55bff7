"""A tenant's quota, and its requests for more."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.quotas import requests
from portal.quotas import selectors as quotas
from portal.quotas.selectors import Usage
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from portal.web.paging import page_of
from portal.web.presenters import quota_request as present
from portal.web.presenters.meter import NAMES, UNITS, meters
from portal.web.tenant import tenant_of


class RequestForm(forms.Form):
    """A field for each limit that there is, empty: no more of it is wanted."""

    def __init__(self, *args: Any, usage: Usage) -> None:
        super().__init__(*args)
        for resource, limit in usage.limits.items():
            if limit is not None:
                label = f"{NAMES[resource]}{UNITS.get(resource, '')}"
                hint = forms.NumberInput(attrs={"placeholder": f"{limit} now"})
                self.fields[resource] = forms.IntegerField(label=label, min_value=0, required=False, widget=hint)
        self.fields["reason"] = forms.CharField(max_length=500, help_text="What it is for.")
        self.fields["until"] = forms.DateField(
            label="Until",
            required=False,
            widget=forms.DateInput(attrs={"type": "date"}),
            help_text="The end of that day, UTC; the limits fall back by themselves then. Empty: for good.",
        )

    @property
    def wanted(self) -> dict[str, Any]:
        """As requests.ask takes it."""
        day = self.cleaned_data["until"]
        own = {"reason", "until"}
        return {
            "wanted": {name: value for name, value in self.cleaned_data.items() if name not in own and value},
            "reason": self.cleaned_data["reason"],
            "ends_at": datetime.combine(day, time(23, 59, 59), UTC) if day else None,
        }


@require_http_methods(["GET", "HEAD", "POST"])
def quota(request: HttpRequest, slug: str) -> HttpResponse:
    """POST asks for more."""
    actor, tenant = actor_of(request), tenant_of(request, slug, Permission.QUOTA_READ)
    usage = quotas.usage(actor, tenant)
    form = RequestForm(request.POST or None, usage=usage)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            made = requests.ask(actor=actor, tenant=tenant, **form.wanted)
            messages.success(request, present.asked(made))
            return redirect("quota", slug)
    page = page_of(request, requests.requests(actor, tenant=tenant))
    context = {
        "tenant": tenant,
        "meters": meters(usage),
        "form": form,
        "page": page,
        "requests": present.rows(page.rows),
        "may_ask": actor.can(Permission.QUOTA_REQUEST, tenant.pk),
        "why_not": actor.why_not(Permission.QUOTA_REQUEST, tenant.pk),
    }
    return render(request, "portal/quota.html", context, status=status_of(form))


@require_safe
def quota_meters(request: HttpRequest, slug: str) -> HttpResponse:
    tenant = tenant_of(request, slug)
    context = {"tenant": tenant, "meters": meters(quotas.usage(actor_of(request), tenant))}
    return render(request, "portal/_quota.html", context)


@require_POST
def quota_withdraw(request: HttpRequest, slug: str, request_id: UUID) -> HttpResponse:
    actor, _ = actor_of(request), tenant_of(request, slug)
    asked = requests.request(actor, request_id, Permission.QUOTA_REQUEST)
    with refusals_as_notice(request):
        requests.withdraw(actor=actor, asked=asked)
        messages.success(request, "Withdrawn.")
    return redirect("quota", slug)
