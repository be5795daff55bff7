"""Images and sizes: what tenants choose from, and how administrators keep it."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from portal.web.paging import page_of
from vms import selectors
from vms.services import catalogue
from vms.web import presenters
from vms.web.forms import FlavorForm


@require_http_methods(["GET", "HEAD", "POST"])
def provider_flavors(request: HttpRequest) -> HttpResponse:
    """All sizes; POST adds one."""
    actor = actor_of(request)
    form = FlavorForm(request.POST or None)
    rows = selectors.all_flavors(actor)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            flavor = catalogue.create_flavor(actor=actor, **form.cleaned_data)
            messages.success(request, f"{flavor.name} can be chosen from now on.")
            return redirect("provider-flavors")
    page = page_of(request, rows)
    context = {
        "page": page,
        "flavors": [presenters.flavor(each) for each in page.rows],
        "form": form,
        "may_write": actor.can(Permission.FLAVOR_WRITE),
        "why_not": actor.why_not(Permission.FLAVOR_WRITE),
    }
    return render(request, "vms/provider_flavors.html", context, status=status_of(form))


@require_POST
def provider_flavor_offer(request: HttpRequest, flavor_id: UUID) -> HttpResponse:
    """POST `active`: yes or no."""
    actor, active = actor_of(request), request.POST.get("active") == "yes"
    flavor = selectors.all_flavors(actor).filter(pk=flavor_id).first()
    if flavor is None:
        raise selectors.unknown("flavor")
    with refusals_as_notice(request):
        catalogue.set_flavor_active(actor=actor, flavor=flavor, active=active)
        messages.success(request, f"{flavor.name} is {'offered again' if active else 'retired: nobody can choose it'}.")
    return redirect("provider-flavors")
