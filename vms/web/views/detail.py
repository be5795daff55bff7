"""A machine's own pages."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from portal.core.errors import NotFound
from portal.events import selectors as events
from portal.operations.models import Operation
from portal.operations.selectors import last_operation
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice
from portal.web.paging import page_of
from portal.web.presenters import event as event_rows
from portal.web.presenters import operation as operations
from vms import guarantee
from vms.failover_selectors import one_stranded
from vms.models import VM
from vms.services import power
from vms.states import Action
from vms.web import failover, leases, placement, presenters
from vms.web.fetch import vm_of
from vms.web.guarantee import card
from vms.web.presenters import TABS

# What the page cannot show by itself: a machine that restarts is running before and after.
SAID = {Action.REBOOT: "The guest was asked to restart."}


def context_of(request: HttpRequest, vm: VM, operation: Operation | None, tab: str) -> dict[str, Any]:
    """What the frame of all tabs shows."""
    actor = actor_of(request)
    steps = list(operation.steps.all()) if operation else []
    last = last_operation(actor, vm.pk, is_asked_for=True) if operation is None and tab == "vm-detail" else None
    return {
        "failed": failover.row(actor, one_stranded(vm)) if vm.host.has_failed else None,
        "cloned": presenters.cloned(vm, last) if last else None,
        "lease": leases.card(vm),
        "tenant": vm.tenant,
        "vm": presenters.page(actor, vm, operation, tab),
        "card": card(guarantee.of_vm(vm)) if tab == "vm-detail" else None,
        "operation": operations.view(actor, operation, steps, vm.tenant.slug) if operation else None,
    }


@require_safe
def vm_detail(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    """A machine that is gone leads to the operation that tells what became of it."""
    try:
        vm, operation = vm_of(request, slug, vm_id)
    except NotFound:
        last = last_operation(actor_of(request), vm_id)
        if last is None:
            raise
        return redirect("operation-detail", last.pk)
    actor = actor_of(request)
    context = context_of(request, vm, operation, "vm-detail") | {
        "placement": placement.latest(actor, vm),
        "move_url": reverse("vm-migrate", args=[slug, vm_id]) if actor.can(Permission.HOST_WRITE) else "",
    }
    return render(request, "vms/detail.html", context)


@require_safe
def vm_header(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    """The part of the page that changes by itself, for the tab that asks."""
    vm, operation = vm_of(request, slug, vm_id)
    tab = request.GET.get("tab", "")
    return render(request, "vms/_live.html", context_of(request, vm, operation, tab if tab in TABS else "vm-detail"))


@require_safe
def vm_activity(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    vm, operation = vm_of(request, slug, vm_id)
    actor = actor_of(request)
    actor.require(Permission.EVENT_READ, vm.tenant_id)
    page = page_of(request, events.events(actor, events.Filter(tenant=vm.tenant, target_id=vm.pk)))
    found = {"page": page, "events": event_rows.rows(page.rows, for_provider=actor.is_provider)}
    return render(request, "vms/activity.html", {**context_of(request, vm, operation, "vm-activity"), **found})


@require_POST
def vm_action(request: HttpRequest, slug: str, vm_id: UUID, action: str) -> HttpResponse:
    """Start, stop and the like; `next` is where one comes from: list or console."""
    vm, _ = vm_of(request, slug, vm_id)
    if action not in power.ACTIONS:
        raise Http404
    with refusals_as_notice(request):
        power.change_power(actor=actor_of(request), vm=vm, action=Action(action))
        if words := SAID.get(Action(action)):
            messages.success(request, words)
    return redirect(back(request, slug, vm_id))


def back(request: HttpRequest, slug: str, vm_id: UUID) -> str:
    """Where `next` says that one came from, else the machine's page."""
    if request.POST.get("next") == "list":
        return reverse("vm-list", args=[slug])
    if request.POST.get("next") == "console":
        kind = "serial" if request.POST.get("kind") == "serial" else "display"
        return f"{reverse('vm-console', args=[slug, vm_id])}?kind={kind}"
    return reverse("vm-detail", args=[slug, vm_id])
