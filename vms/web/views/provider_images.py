"""All tenants' images, for the provider's staff. What is done with one is done on its own page."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from portal.operations.selectors import active_on_each
from portal.tenancy import selectors as tenancy
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice
from portal.web.paging import page_of
from vms import image_selectors, selectors
from vms.services import images
from vms.web import image_presenters


@require_safe
def provider_images(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    page = page_of(request, selectors.all_images(actor).prefetch_related("shares__tenant"))
    active, uses = active_on_each(image.pk for image in page.rows), image_selectors.use_counts(page.rows)
    anywhere = tenancy.tenants(actor).first()  # the provider's own have their page at any tenant's address
    rows = [
        (image_presenters.row(actor, image, tenant, active.get(image.pk), uses.get(image.pk, 0)), image)
        for image in page.rows
        if (tenant := image.tenant or anywhere) is not None
    ]
    context = {
        "page": page,
        "images": [
            (row, image.tenant.name if image.tenant else "the provider", image.is_active) for row, image in rows
        ],
        "may_write": actor.can(Permission.IMAGE_WRITE),
    }
    return render(request, "images/provider_list.html", context)


@require_POST
def provider_image_offer(request: HttpRequest, image_id: UUID) -> HttpResponse:
    """POST `active`: yes or no."""
    actor, active = actor_of(request), request.POST.get("active") == "yes"
    image = selectors.all_images(actor).filter(pk=image_id).first()
    if image is None:
        raise selectors.unknown("image")
    with refusals_as_notice(request):
        images.set_image_active(actor=actor, image=image, active=active)
        messages.success(request, f"{image.name} is {'offered again' if active else 'retired: nobody can choose it'}.")
    return redirect("provider-images")
