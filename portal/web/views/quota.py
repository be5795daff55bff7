"""A tenant's quota, for pages that heard of news."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from portal.quotas import selectors as quotas
from portal.web.actor import actor_of
from portal.web.presenters.meter import meters
from portal.web.tenant import tenant_of


@require_safe
def quota_meters(request: HttpRequest, slug: str) -> HttpResponse:
    tenant = tenant_of(request, slug)
    context = {"tenant": tenant, "meters": meters(quotas.usage(actor_of(request), tenant))}
    return render(request, "portal/_quota.html", context)
