"""What happened in a tenant."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from portal.events import selectors
from portal.events.selectors import Filter
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import text_query
from portal.web.paging import page_of
from portal.web.presenters import event as present
from portal.web.tenant import tenant_of


@require_safe
def activity(request: HttpRequest, slug: str) -> HttpResponse:
    tenant = tenant_of(request, slug, Permission.EVENT_READ)
    search = text_query(request, "q")
    page = page_of(request, selectors.events(actor_of(request), Filter(tenant=tenant, search=search)))
    context = {
        "tenant": tenant,
        "page": page,
        "events": present.rows(page.rows, for_provider=actor_of(request).is_provider),
        "search": search,
    }
    context["may_see_webhooks"] = actor_of(request).can(Permission.WEBHOOK_READ, tenant.pk)
    return render(request, "portal/activity.html", context)
