"""Images and sizes: what tenants choose from, and how administrators keep it."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.forms.models import model_to_dict
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from portal.web.paging import page_of
from vms import selectors
from vms.models import Flavor
from vms.services import catalogue
from vms.web import presenters
from vms.web.forms import ClassForm, FlavorForm


@require_http_methods(["GET", "HEAD", "POST"])
def provider_flavors(request: HttpRequest) -> HttpResponse:
    """All sizes; POST adds one."""
    actor = actor_of(request)
    form = FlavorForm(request.POST or None)
    rows = selectors.all_flavors(actor)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            given = dict(form.cleaned_data)
            promised = catalogue.Class(**{name: given.pop(name) for name in ClassForm.base_fields})
            flavor = catalogue.create_flavor(actor=actor, promised=promised, **given)
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
    flavor = _flavor(actor, flavor_id)
    with refusals_as_notice(request):
        catalogue.set_flavor_active(actor=actor, flavor=flavor, active=active)
        messages.success(request, f"{flavor.name} is {'offered again' if active else 'retired: nobody can choose it'}.")
    return redirect("provider-flavors")


@require_http_methods(["GET", "HEAD", "POST"])
def provider_flavor_class(request: HttpRequest, flavor_id: UUID) -> HttpResponse:
    """What is promised of a size; POST changes it for the machines that are made from now on."""
    actor = actor_of(request)
    actor.require(Permission.FLAVOR_WRITE)
    flavor = _flavor(actor, flavor_id)
    form = ClassForm(request.POST or None, initial=model_to_dict(flavor, fields=list(ClassForm.base_fields)))
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            catalogue.promise_flavor(actor=actor, flavor=flavor, promised=catalogue.Class(**form.cleaned_data))
            messages.success(
                request, f"{flavor.name} promises this from now on. Machines that have it keep what they have."
            )
            return redirect("provider-flavors")
    context = {"form": form, "flavor": flavor, "submit": "Save class", "cancel_url": reverse("provider-flavors")}
    return render(request, "vms/provider_flavor_class.html", context, status=status_of(form))


def _flavor(actor: Actor, flavor_id: UUID) -> Flavor:
    found = selectors.all_flavors(actor).filter(pk=flavor_id).first()
    if found is None:
        raise selectors.unknown("flavor")
    return found
