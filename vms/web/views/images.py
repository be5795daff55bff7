"""Images: what machines are made of, as a tenant keeps them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.core.errors import Invalid, NotFound
from portal.events import selectors as events
from portal.operations.models import Operation
from portal.operations.selectors import active_on_each, last_operation
from portal.operations.services import active_on
from portal.quotas import selectors as quotas
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in
from portal.web.paging import page_of
from portal.web.presenters import event as event_rows
from portal.web.presenters import operation as operations
from portal.web.presenters.meter import meter
from portal.web.tenant import tenant_of
from vms import image_selectors, selectors
from vms.models import Image, ImageCopy
from vms.services import images
from vms.services.copies import evict_copy
from vms.web import image_presenters
from vms.web.image_forms import DeleteImageForm, DeprecateForm, PropertiesForm, ShareForm

MOST_EVENTS = 20


@require_safe
def image_list(request: HttpRequest, slug: str) -> HttpResponse:
    actor, tenant = actor_of(request), tenant_of(request, slug)
    rows = selectors.images(actor, tenant).select_related("tenant").prefetch_related("shares__tenant")
    page = page_of(request, rows)
    active, uses = active_on_each(image.pk for image in page.rows), image_selectors.use_counts(page.rows)
    usage = quotas.usage(actor, tenant)
    context = {
        "tenant": tenant,
        "page": page,
        "images": [
            image_presenters.row(actor, image, tenant, active.get(image.pk), uses.get(image.pk, 0))
            for image in page.rows
        ],
        "meters": [meter("image_mib", usage.used["image_mib"], usage.limits["image_mib"])],
        "may_add": actor.can(Permission.IMAGE_WRITE, tenant.pk),
        "why_not": actor.why_not(Permission.IMAGE_WRITE, tenant.pk),
    }
    return render(request, "images/list.html", context)


@require_safe
def image_row(request: HttpRequest, slug: str, image_id: UUID) -> HttpResponse:
    """One row of the list, for a page that heard of news; 204 where the image is gone."""
    tenant_of(request, slug)
    try:
        tenant, image, operation = _image_of(request, slug, image_id)
    except NotFound:
        return HttpResponse(status=204)
    uses = image_selectors.use_counts([image]).get(image.pk, 0)
    row = image_presenters.row(actor_of(request), image, tenant, operation, uses)
    return render(request, "images/_row.html", {"image": row, "tenant": tenant})


def _image_of(request: HttpRequest, slug: str, image_id: UUID) -> tuple[Tenant, Image, Operation | None]:
    """NotFound where the tenant may not use it."""
    tenant = tenant_of(request, slug)
    rows = Image.objects.for_actor(actor_of(request)).available_to(tenant)
    found = rows.filter(pk=image_id).select_related("tenant").prefetch_related("shares__tenant").first()
    if found is None:
        raise selectors.unknown("image")
    return tenant, found, active_on("image", found.pk)


def _frame(request: HttpRequest, tenant: Tenant, image: Image, operation: Operation | None) -> dict[str, Any]:
    actor = actor_of(request)
    users = image_selectors.users(actor, image)
    copies = list(image_selectors.copies(actor, image)) if actor.can(Permission.HOST_READ) else None
    can_see = operation is not None and actor.can(Permission.OPERATION_READ, image.tenant_id)
    steps = list(operation.steps.all()) if operation and can_see else []
    return {
        "tenant": tenant,
        "image": image_presenters.page(actor, image, tenant, operation, users, copies),
        "may_evict": actor.can(Permission.HOST_WRITE),
        "operation": operations.view(actor, operation, steps, tenant.slug) if operation and can_see else None,
    }


@require_safe
def image_header(request: HttpRequest, slug: str, image_id: UUID) -> HttpResponse:
    """The part of the page that changes by itself; in another state than `was`, all of the page has changed."""
    tenant, image, operation = _image_of(request, slug, image_id)
    response = render(request, "images/_live.html", _frame(request, tenant, image, operation))
    if request.GET.get("was", image.state) != image.state:
        response["X-Berth-Go"] = reverse("image-detail", args=[slug, image_id])
    return response


def _change(actor: Actor, image: Image, wanted: dict[str, Any]) -> str:
    images.change_image(actor=actor, image=image, properties=wanted)
    return "Saved."


def _share(actor: Actor, image: Image, wanted: dict[str, Any]) -> str:
    images.share_image(actor=actor, image=image, tenants=wanted["tenants"])
    return "It is shared." if wanted["tenants"] else "Nobody else sees it any more."


def _deprecate(actor: Actor, image: Image, wanted: dict[str, Any]) -> str:
    active = not image.is_active
    images.set_image_active(actor=actor, image=image, active=active, deprecation=wanted["deprecation"])
    return "It is offered again." if active else "It is deprecated: no new machines are made of it."


def _publish(actor: Actor, image: Image, wanted: dict[str, Any]) -> str:
    public = image.visibility != "public"
    images.publish_image(actor=actor, image=image, public=public)
    return "Everybody sees it from now on." if public else "It is its owner's alone again."


def _delete(actor: Actor, image: Image, wanted: dict[str, Any]) -> str:
    if wanted["confirmation"] != image.name:
        raise Invalid("This is not its name; nothing was deleted.", field="confirmation")
    images.delete_image(actor=actor, image=image)
    return "It is being deleted."


INTENTS: dict[str, tuple[type[forms.Form], Callable[[Actor, Image, dict[str, Any]], str]]] = {
    "change": (PropertiesForm, _change),
    "share": (ShareForm, _share),
    "deprecate": (DeprecateForm, _deprecate),
    "publish": (forms.Form, _publish),
    "delete": (DeleteImageForm, _delete),
}


@require_http_methods(["GET", "HEAD", "POST"])
def image_detail(request: HttpRequest, slug: str, image_id: UUID) -> HttpResponse:
    """POST names one of `INTENTS`; the other forms stay as they are. One that is gone leads to what became of it."""
    try:
        tenant, image, operation = _image_of(request, slug, image_id)
    except NotFound:
        last = last_operation(actor_of(request), image_id)
        if last is None:
            raise
        return redirect("operation-detail", last.pk)
    intent = request.POST.get("intent", "") if request.method == "POST" else ""
    bound: dict[str, forms.Form] = {}
    if intent in INTENTS:
        form_class, act = INTENTS[intent]
        bound[intent] = form = form_class(request.POST)
        if form.is_valid():
            with refusals_in(form):
                messages.success(request, act(actor_of(request), image, form.cleaned_data))
                return redirect("image-list", slug) if intent == "delete" else redirect("image-detail", slug, image_id)
        image.refresh_from_db()
    context = _frame(request, tenant, image, operation) | _forms(image, bound) | _events(request, image)
    return render(request, "images/detail.html", context, status=422 if bound else 200)


def _forms(image: Image, bound: dict[str, forms.Form]) -> dict[str, Any]:
    shared = ", ".join(share.tenant.slug for share in image.shares.all())
    properties = {name: getattr(image, name) for name in PropertiesForm.base_fields}
    return {
        "change": bound.get("change") or PropertiesForm(initial={**properties, "min_disk_gib": image.least_disk_gib}),
        "share": bound.get("share") or ShareForm(initial={"tenants": shared}),
        "deprecate": bound.get("deprecate") or DeprecateForm(initial={"deprecation": image.deprecation}),
        "delete": bound.get("delete") or DeleteImageForm(),
        "refused": next((form for name, form in bound.items() if name == "publish"), None),
    }


def _events(request: HttpRequest, image: Image) -> dict[str, Any]:
    """What happened to it, for its tenant and the provider's staff."""
    actor = actor_of(request)
    if not image_selectors.is_insider(actor, image) or image.tenant is None:
        return {"events": []}
    rows = events.events(actor, events.Filter(tenant=image.tenant, target_id=image.pk))
    return {"events": event_rows.rows(rows[:MOST_EVENTS], for_provider=actor.is_provider)}


@require_POST
def image_evict(request: HttpRequest, slug: str, image_id: UUID) -> HttpResponse:
    """POST `copy`: remove the file from the pool of a host."""
    actor = actor_of(request)
    actor.require(Permission.HOST_WRITE)
    _, image, _ = _image_of(request, slug, image_id)
    copy = _copy(actor, image, request.POST.get("copy", ""))
    with refusals_as_notice(request):
        operation = evict_copy(actor=actor, copy=copy)
        return redirect(reverse("operation-detail", args=[operation.pk]))
    return redirect("image-detail", slug, image_id)


def _copy(actor: Actor, image: Image, id: str) -> ImageCopy:
    found = next((copy for copy in image_selectors.copies(actor, image) if str(copy.pk) == id), None)
    if found is None:
        raise selectors.unknown("copy")
    return found
