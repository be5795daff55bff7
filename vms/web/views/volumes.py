"""The tenant's volumes: the list, a new one, and each one's own page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from hosts import selectors as hosts
from portal.core.errors import Invalid, NotFound
from portal.operations.models import Operation
from portal.operations.selectors import last_operation
from portal.quotas import selectors as quotas
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_in, status_of, text_query
from portal.web.paging import page_of
from portal.web.presenters import operation as operations
from portal.web.presenters.meter import meters
from portal.web.tenant import tenant_of
from vms import volume_selectors
from vms.models import VM, Volume
from vms.services import volume_change
from vms.services import volumes as services
from vms.web import volumes as presenters
from vms.web.volume_forms import AttachForm, DeleteForm, GrowForm, MoveForm, NameForm, VolumeForm

MOST_MACHINES = 200  # in a select; others are attached by the API, or on the machine's own page


@require_safe
def volume_list(request: HttpRequest, slug: str) -> HttpResponse:
    actor, tenant = actor_of(request), tenant_of(request, slug, Permission.VM_READ)
    search = text_query(request, "q")
    page = page_of(request, volume_selectors.volumes(actor, tenant=tenant, search=search))
    context = {
        "tenant": tenant,
        "page": page,
        "rows": presenters.rows(actor, page.rows, slug),
        "search": search,
        "meters": meters(quotas.usage(actor, tenant)),
        "may_write": actor.can(Permission.VM_WRITE, tenant.pk),
        "why_not": actor.why_not(Permission.VM_WRITE, tenant.pk),
        "create_url": reverse("volume-create", args=[slug]),
    }
    return render(request, "volumes/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def volume_create(request: HttpRequest, slug: str) -> HttpResponse:
    """`?vm=` names the machine that it is made for."""
    actor, tenant = actor_of(request), tenant_of(request, slug, Permission.VM_WRITE)
    classes = list(hosts.storage_classes(actor).filter(is_active=True))
    choices = {"classes": presenters.class_choices(classes), "machines": _machines(actor, tenant)}
    if request.method == "POST":
        form = VolumeForm(request.POST, **choices)
        if form.is_valid():
            with refusals_in(form):
                wanted = services.CreateVolume(tenant=tenant.slug, **form.cleaned_data)
                volume, _ = services.create_volume(actor=actor, request=wanted)
                return redirect("volume-detail", slug, volume.pk)
    else:
        default = next((found.slug for found in classes if found.is_default), "")
        given = {"storage_class": default, "vm": request.GET.get("vm", "")[:40]}
        form = VolumeForm(initial={**given, "name": _free_name(actor, tenant)}, **choices)
    context = {
        "tenant": tenant,
        "form": form,
        "submit": "Create volume",
        "cancel_url": reverse("volume-list", args=[slug]),
        "meters": meters(quotas.usage(actor, tenant)),
    }
    return render(request, "volumes/create.html", context, status=status_of(form))


def _machines(actor: Actor, tenant: Tenant) -> list[tuple[str, str]]:
    rows = VM.objects.for_actor(actor).filter(tenant=tenant, lifecycle="ready").order_by("name")
    return [(str(id), name) for id, name in rows.values_list("pk", "name")[:MOST_MACHINES]]


def _free_name(actor: Actor, tenant: Tenant) -> str:
    taken = set(Volume.objects.for_actor(actor).filter(tenant=tenant).values_list("name", flat=True))
    return next(name for number in range(1, len(taken) + 2) if (name := f"data-{number}") not in taken)


def _volume(request: HttpRequest, slug: str, volume_id: UUID) -> tuple[Volume, Operation | None]:
    tenant = tenant_of(request, slug)
    volume = volume_selectors.volume(actor_of(request), volume_id)
    if volume.tenant_id != tenant.pk:
        raise NotFound("There is no such volume.")
    return volume, volume_selectors.busy_with([volume]).get(volume.pk)


def _attach(actor: Actor, volume: Volume, wanted: dict[str, Any]) -> str:
    services.attach(actor=actor, volume=volume, vm=wanted["vm"])
    return "It is being attached."


def _detach(actor: Actor, volume: Volume, wanted: dict[str, Any]) -> str:
    services.detach(actor=actor, volume=volume)
    return "It is being detached."


def _grow(actor: Actor, volume: Volume, wanted: dict[str, Any]) -> str:
    volume_change.grow(actor=actor, volume=volume, size_gib=wanted["size_gib"])
    return "It is growing."


def _move(actor: Actor, volume: Volume, wanted: dict[str, Any]) -> str:
    volume_change.move(actor=actor, volume=volume, storage_class=wanted["storage_class"])
    return "It is being moved."


def _rename(actor: Actor, volume: Volume, wanted: dict[str, Any]) -> str:
    services.rename_volume(actor=actor, volume=volume, name=wanted["name"])
    return "Renamed."


def _delete(actor: Actor, volume: Volume, wanted: dict[str, Any]) -> str:
    if wanted["confirmation"] != volume.name:
        raise Invalid("This is not its name; nothing was deleted.", field="confirmation")
    services.delete_volume(actor=actor, volume=volume)
    return "It is being deleted."


INTENTS: dict[str, Callable[[Actor, Volume, dict[str, Any]], str]] = {
    "attach": _attach,
    "detach": _detach,
    "grow": _grow,
    "move": _move,
    "rename": _rename,
    "delete": _delete,
}


@require_http_methods(["GET", "HEAD", "POST"])
def volume_detail(request: HttpRequest, slug: str, volume_id: UUID) -> HttpResponse:
    """POST names one of `INTENTS`. A volume that is gone leads to the operation that tells what became of it."""
    try:
        volume, operation = _volume(request, slug, volume_id)
    except NotFound:
        last = last_operation(actor_of(request), volume_id)
        if last is None:
            raise
        return redirect("operation-detail", last.pk)
    intent = request.POST.get("intent", "") if request.method == "POST" else ""
    bound: dict[str, forms.Form] = {}
    if intent in INTENTS:
        form = bound[intent] = _forms(request, volume, request.POST, only=intent)[intent]
        if form.is_valid():
            with refusals_in(form):
                messages.success(request, INTENTS[intent](actor_of(request), volume, form.cleaned_data))
                return redirect("volume-detail", slug, volume_id)
        volume, operation = _volume(request, slug, volume_id)
    context = {**_context(request, volume, operation), **_forms(request, volume), **bound}
    return render(request, "volumes/detail.html", context, status=422 if bound else 200)


@require_safe
def volume_header(request: HttpRequest, slug: str, volume_id: UUID) -> HttpResponse:
    """The part of the page that changes by itself."""
    return render(request, "volumes/_live.html", _context(request, *_volume(request, slug, volume_id)))


def _context(request: HttpRequest, volume: Volume, operation: Operation | None) -> dict[str, Any]:
    actor = actor_of(request)
    steps = list(operation.steps.all()) if operation else []
    return {
        "tenant": volume.tenant,
        "volume": presenters.page(actor, volume, operation),
        "operation": operations.view(actor, operation, steps, volume.tenant.slug) if operation else None,
    }


def _forms(request: HttpRequest, volume: Volume, data: Any = None, only: str = "") -> dict[str, forms.Form]:
    """All of them, or the one that was sent."""
    actor = actor_of(request)
    classes = presenters.class_choices(
        hosts.storage_classes(actor).filter(is_active=True), without=volume.layer.pool.storage_class
    )
    made: dict[str, Callable[[], forms.Form]] = {
        "attach": lambda: AttachForm(data, machines=_machines(actor, volume.tenant), auto_id="id_attach_%s"),
        "detach": lambda: forms.Form(data),
        "grow": lambda: GrowForm(data, initial={"size_gib": volume.size_gib * 2}, auto_id="id_grow_%s"),
        "move": lambda: MoveForm(data, classes=classes, auto_id="id_move_%s"),
        "rename": lambda: NameForm(data, initial={"name": volume.name}, auto_id="id_rename_%s"),
        "delete": lambda: DeleteForm(data),
    }
    return {name: make() for name, make in made.items() if only in ("", name)}
