"""Snapshots: the tree on a machine's page, taking one, and each one's own page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.core.errors import NotFound
from portal.operations.models import Operation
from portal.operations.services import active_on
from portal.tenancy.gate import Actor
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in
from portal.web.presenters import operation as operations
from portal.web.tenant import tenant_of
from vms import selectors, snapshot_selectors
from vms.models import VM, Power, Snapshot
from vms.services import snapshots as services
from vms.states import Action
from vms.web import snapshots as presenters
from vms.web.fetch import vm_of
from vms.web.snapshot_forms import DescribeForm, RevertForm, TakeForm


def snapshots_of(request: HttpRequest, vm: VM, operation: Operation | None) -> dict[str, Any]:
    """What the half about snapshots shows."""
    actor, own = actor_of(request), [vm.tenant.slug, vm.pk]
    return {
        "snapshots": presenters.rows(actor, vm, operation),
        "snapshots_topic": f"vm:{vm.pk}",
        "snapshots_url": reverse("vm-snapshot-rows", args=own),
        "take_url": reverse("vm-snapshot-take", args=own),
        "take": TakeForm(initial={"name": f"{timezone.now():%Y-%m-%d %H:%M}"}, auto_id="id_take_%s"),
        "can_take": selectors.actions(actor, vm, operation)[Action.SNAPSHOT],
        "has_memory": vm.observed_power != Power.STOPPED,
        "hidden_gib": snapshot_selectors.hidden_gib(vm),
    }


@require_safe
def vm_snapshot_rows(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    """The tree, which changes by itself."""
    vm, operation = vm_of(request, slug, vm_id)
    return render(request, "vms/_snapshot_rows.html", snapshots_of(request, vm, operation))


@require_POST
def vm_snapshot_take(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    vm, _ = vm_of(request, slug, vm_id)
    form = TakeForm(request.POST)
    with refusals_as_notice(request):
        if form.is_valid():
            services.take_snapshot(actor=actor_of(request), vm=vm, **form.cleaned_data)
            messages.success(request, "The snapshot is being taken.")
        else:
            messages.error(request, " ".join(str(error) for errors in form.errors.values() for error in errors))
    return redirect("vm-disks", slug, vm_id)


def _revert(actor: Actor, snapshot: Snapshot, wanted: dict[str, Any]) -> str:
    services.revert(actor=actor, snapshot=snapshot, safety=wanted["safety"])
    return f"{snapshot.vm.name} is being returned to {snapshot.name}."


def _describe(actor: Actor, snapshot: Snapshot, wanted: dict[str, Any]) -> str:
    services.describe(actor=actor, snapshot=snapshot, **wanted)
    return "Changed."


def _delete(actor: Actor, snapshot: Snapshot, wanted: dict[str, Any]) -> str:
    services.delete_snapshot(actor=actor, snapshot=snapshot)
    return f"{snapshot.name} is being deleted."


INTENTS: dict[str, tuple[type[forms.Form], Callable[[Actor, Snapshot, dict[str, Any]], str]]] = {
    "revert": (RevertForm, _revert),
    "describe": (DescribeForm, _describe),
    "delete": (forms.Form, _delete),
}


@require_http_methods(["GET", "HEAD", "POST"])
def snapshot_detail(request: HttpRequest, slug: str, snapshot_id: UUID) -> HttpResponse:
    """POST names one of `INTENTS`."""
    snapshot, operation = _snapshot(request, slug, snapshot_id)
    intent = request.POST.get("intent", "") if request.method == "POST" else ""
    bound: dict[str, forms.Form] = {}
    if intent in INTENTS:
        form_class, act = INTENTS[intent]
        form = bound[intent] = form_class(request.POST)
        if form.is_valid():
            with refusals_in(form):
                messages.success(request, act(actor_of(request), snapshot, form.cleaned_data))
                if intent == "describe":
                    return redirect("snapshot-detail", slug, snapshot_id)
                return redirect("vm-disks", slug, snapshot.vm_id)
        snapshot, operation = _snapshot(request, slug, snapshot_id)
    context = {**_context(request, snapshot, operation), **bound}
    return render(request, "vms/snapshot.html", context, status=422 if bound else 200)


@require_safe
def snapshot_header(request: HttpRequest, slug: str, snapshot_id: UUID) -> HttpResponse:
    """The part of the page that changes by itself."""
    return render(request, "vms/_snapshot_live.html", _context(request, *_snapshot(request, slug, snapshot_id)))


def _snapshot(request: HttpRequest, slug: str, snapshot_id: UUID) -> tuple[Snapshot, Operation | None]:
    tenant = tenant_of(request, slug)
    snapshot = snapshot_selectors.snapshot(actor_of(request), snapshot_id)
    if snapshot.tenant_id != tenant.pk:
        raise NotFound("There is no such snapshot.")
    return snapshot, active_on("vm", snapshot.vm_id)


def _context(request: HttpRequest, snapshot: Snapshot, operation: Operation | None) -> dict[str, Any]:
    actor = actor_of(request)
    steps = list(operation.steps.all()) if operation else []
    words = {"name": snapshot.name, "description": snapshot.description}
    own = [snapshot.tenant.slug, snapshot.pk]
    return {
        "tenant": snapshot.tenant,
        "snapshot": presenters.page(actor, snapshot, operation),
        "operation": operations.view(actor, operation, steps, snapshot.tenant.slug) if operation else None,
        "topic": f"vm:{snapshot.vm_id}",
        "header_url": reverse("snapshot-header", args=own),
        "can_describe": selectors.actions(actor, snapshot.vm, operation)[Action.RENAME],
        "revert": RevertForm(initial={"safety": True}),
        "describe": DescribeForm(initial=words, auto_id="id_describe_%s"),
        "delete": forms.Form(),
    }
