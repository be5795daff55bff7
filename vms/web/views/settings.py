"""A machine's settings: name, size, protection, and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from portal.core.errors import Invalid
from portal.operations.models import Operation
from portal.quotas import selectors as quotas
from portal.tenancy.gate import Actor
from portal.web.actor import actor_of
from portal.web.forms import refusals_in
from vms import selectors
from vms.lease_selectors import terms_of
from vms.models import VM
from vms.services import change, clone, delete, leases, publish
from vms.states import Action
from vms.web import size_choice
from vms.web.bin import bin_words
from vms.web.fetch import vm_of
from vms.web.forms import CloneForm, DeleteForm, ProtectForm, RenameForm, ResizeForm
from vms.web.image_forms import PublishForm
from vms.web.leases import LeaseForm, help_on
from vms.web.views.detail import context_of
from vms.workflows.purge import PURGE


def _rename(actor: Actor, vm: VM, wanted: dict[str, Any]) -> str:
    change.rename(actor=actor, vm=vm, name=wanted["name"])
    return "Renamed."


def _resize(actor: Actor, vm: VM, wanted: dict[str, Any]) -> str:
    change.resize(actor=actor, vm=vm, flavor=wanted["flavor"])
    return "The size is being changed."


def _clone(actor: Actor, vm: VM, wanted: dict[str, Any]) -> str:
    new, _ = clone.clone_vm(actor=actor, vm=vm, **wanted)
    return f"It is being cloned as {new.name}."


def _publish(actor: Actor, vm: VM, wanted: dict[str, Any]) -> str:
    image, _ = publish.publish_vm(actor=actor, vm=vm, **wanted)
    return f"It is being published as {image.name}."


def _protect(actor: Actor, vm: VM, wanted: dict[str, Any]) -> str:
    change.protect(actor=actor, vm=vm, protected=wanted["protected"])
    return "It is protected against deletion." if wanted["protected"] else "The protection was removed."


def _lease(actor: Actor, vm: VM, wanted: dict[str, Any]) -> str:
    leases.change(actor=actor, vm=vm, expires_at=wanted["expires_at"])
    return f"It expires on {vm.expires_at:%Y-%m-%d}." if vm.expires_at else "It has no expiry date."


def _delete(actor: Actor, vm: VM, wanted: dict[str, Any]) -> str:
    if wanted["confirmation"] != vm.name:
        raise Invalid("This is not its name; nothing was deleted.", field="confirmation")
    operation = delete.delete_vm(actor=actor, vm=vm, purge=wanted["purge"])
    if operation.kind == PURGE.kind:
        return "It is being deleted for good, with its disk."
    return "It is on its way to the bin, from where it can be restored."


def _next(intent: str, slug: str, vm_id: UUID) -> HttpResponse:
    """Where one sees what comes of it."""
    if intent == "delete":
        return redirect("vm-list", slug)
    return redirect("vm-detail" if intent in ("resize", "clone", "publish") else "vm-settings", slug, vm_id)


INTENTS: dict[str, tuple[type[forms.Form], Callable[[Actor, VM, dict[str, Any]], str]]] = {
    "rename": (RenameForm, _rename),
    "resize": (ResizeForm, _resize),
    "clone": (CloneForm, _clone),
    "publish": (PublishForm, _publish),
    "protect": (ProtectForm, _protect),
    "lease": (LeaseForm, _lease),
    "delete": (DeleteForm, _delete),
}


@require_http_methods(["GET", "HEAD", "POST"])
def vm_settings(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    """POST names one of `INTENTS`; the other forms stay as they are."""
    vm, operation = vm_of(request, slug, vm_id)
    intent = request.POST.get("intent", "") if request.method == "POST" else ""
    bound: dict[str, forms.Form] = {}
    if intent in INTENTS:
        form_class, act = INTENTS[intent]
        bound[intent] = form = form_class(request.POST)
        if form.is_valid():
            with refusals_in(form):
                messages.success(request, act(actor_of(request), vm, form.cleaned_data))
                return _next(intent, slug, vm_id)
        vm.refresh_from_db()
    context = context_of(request, vm, operation, "vm-settings") | _context(request, vm, operation, bound)
    return render(request, "vms/settings.html", context, status=422 if bound else 200)


def _context(request: HttpRequest, vm: VM, operation: Operation | None, bound: dict[str, forms.Form]) -> dict[str, Any]:
    actor = actor_of(request)
    verdicts = selectors.actions(actor, vm, operation)
    return {
        "rename": bound.get("rename") or RenameForm(initial={"name": vm.name}),
        "resize": bound.get("resize") or ResizeForm(),
        "clone": bound.get("clone") or CloneForm(),
        "publish": bound.get("publish") or PublishForm(),
        "lease_form": bound.get("lease") or LeaseForm(initial={"expires_at": vm.expires_at}),
        "lease_help": help_on(terms_of(vm.tenant_id)),
        "can_lease": selectors.may_schedule(actor, vm.tenant_id),
        "delete": bound.get("delete") or DeleteForm(),
        "sizes": size_choice.cards(vm, list(selectors.flavors()), quotas.usage(actor, vm.tenant)),
        "can_rename": verdicts[Action.RENAME],
        "can_resize": verdicts[Action.RESIZE],
        "can_clone": verdicts[Action.CLONE],
        "can_publish": verdicts[Action.PUBLISH],
        "can_protect": verdicts[Action.UNPROTECT if vm.is_protected else Action.PROTECT],
        "can_delete": verdicts[Action.DELETE],
        "bin_words": bin_words(),
    }
