"""A host that has failed, or may have: what is known, what can be done, what is stranded on it."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from hosts import selectors as hosts
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice
from portal.web.paging import page_of
from portal.web.presenters import event as event_rows
from vms import failover_selectors as selectors
from vms.services import failover as services
from vms.services.write_off import write_off
from vms.web import failover as present

NOT_A_NUMBER = -1


class WriteOffForm(forms.Form):
    machines = forms.IntegerField(required=False, min_value=0)


@require_safe
def host_failover(request: HttpRequest, name: str) -> HttpResponse:
    actor = actor_of(request)
    host = hosts.host(actor, name)
    page = page_of(request, selectors.machines_on(actor, host))
    unfenced, doing = selectors.why_not_fenced(actor, host), selectors.under_way(actor, host)
    context = {
        "page": page,
        "host": present.page(actor, host, unfenced, doing, selectors.lost(actor, host)),
        "machines": [present.row(actor, each) for each in selectors.stranded(page.rows)],
        "events": event_rows.rows(selectors.history(actor, host), for_provider=True),
    }
    return render(request, "vms/host_failover.html", context)


@require_POST
def host_fence(request: HttpRequest, name: str) -> HttpResponse:
    actor = actor_of(request)
    host = hosts.host(actor, name)
    with refusals_as_notice(request):
        return redirect("operation-detail", services.fence(actor=actor, host=host).pk)
    return redirect("host-failover", name)


@require_POST
def host_confirm_off(request: HttpRequest, name: str) -> HttpResponse:
    """POST `confirmation`: the host's name."""
    actor = actor_of(request)
    host = hosts.host(actor, name)
    with refusals_as_notice(request):
        typed = request.POST.get("confirmation", "")
        return redirect("operation-detail", services.confirm_off(actor=actor, host=host, typed=typed).pk)
    return redirect("host-failover", name)


@require_POST
def host_clear(request: HttpRequest, name: str) -> HttpResponse:
    actor = actor_of(request)
    host = hosts.host(actor, name)
    with refusals_as_notice(request):
        services.clear(actor=actor, host=host)
        messages.info(request, "It is being cleared of what runs elsewhere.")
    return redirect("host-failover", name)


@require_POST
def host_write_off(request: HttpRequest, name: str) -> HttpResponse:
    """POST `confirmation`: the host's name; `machines`, how many the page said would be lost."""
    actor = actor_of(request)
    host, form = hosts.host(actor, name), WriteOffForm(request.POST)
    expected = form.cleaned_data["machines"] if form.is_valid() else NOT_A_NUMBER
    with refusals_as_notice(request):
        lost = write_off(actor=actor, host=host, typed=request.POST.get("confirmation", ""), machines=expected)
        messages.success(request, f"It is written off, and {lost} machines with it.")
    return redirect("host-failover", name)
