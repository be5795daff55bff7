"""What a tenant uses and what it costs."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from portal.billing import selectors
from portal.billing.months import Month
from portal.core import clocks
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import text_query
from portal.web.presenters import money as present
from portal.web.tenant import tenant_of


@require_safe
def usage(request: HttpRequest, slug: str) -> HttpResponse:
    """A month, `?month=2026-11`: this one unless told otherwise, with what it comes to if all stays as it is."""
    tenant = tenant_of(request, slug, Permission.BILLING_READ)
    this = Month.of(clocks.database_now())
    asked = text_query(request, "month")
    month = Month.named(asked) if asked else this
    wanted = selectors.Filter(tenant=tenant)
    is_this = month == this
    forecast = selectors.totals(selectors.of_month(tenant.pk, month, month.until)) if is_this else {}
    context = {
        "tenant": tenant,
        "month": month,
        "before": month.before,
        "next": month.next if month < this else None,
        "is_this": is_this,
        "period": selectors.periods(actor_of(request), tenant).filter(since=month.since).first(),
        "costs": present.costs(selectors.charges(actor_of(request), wanted, [month])),
        "forecast": present.money(forecast),
    }
    return render(request, "portal/usage.html", context)
