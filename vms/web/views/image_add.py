"""Bringing an image: a file in pieces (static/js/upload.js, over the API), or an address to fetch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from portal.core.units import GIB, size
from portal.quotas import selectors as quotas
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_in, status_of
from portal.web.presenters.meter import meter
from portal.web.tenant import tenant_of
from vms import intake, selectors
from vms.models import Image, ImageUpload
from vms.services import uploads
from vms.services.uploads import NewImage
from vms.web.image_forms import NewImageForm, UrlForm

MOST_UNFINISHED = 10


@dataclass(frozen=True)
class UploadLine:
    id: UUID
    name: str
    words: str
    size_bytes: int
    expires_at: datetime


@require_http_methods(["GET", "HEAD", "POST"])
def image_add(request: HttpRequest, slug: str) -> HttpResponse:
    """POST imports from an address."""
    actor, tenant = actor_of(request), tenant_of(request, slug, Permission.IMAGE_WRITE)
    form = UrlForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            image = _import(actor, tenant, form.cleaned_data)
            messages.success(request, f"{image.name} is being imported.")
            return redirect("image-detail", slug, image.pk)
    return render(request, "images/add.html", _context(actor, tenant, form), status=status_of(form))


def _import(actor: Actor, tenant: Tenant, wanted: dict[str, Any]) -> Image:
    properties = {name: wanted[name] for name in ("os", "default_user") if wanted[name]}
    properties["has_cloud_init"] = wanted["has_cloud_init"]
    new = NewImage(wanted["name"], wanted["format"], tenant=tenant.slug, sha256=wanted["sha256"], properties=properties)
    image, _ = uploads.import_url(actor=actor, request=new, url=wanted["url"])
    return image


def _context(actor: Actor, tenant: Tenant, form: UrlForm) -> dict[str, Any]:
    usage = quotas.usage(actor, tenant)
    unfinished = selectors.uploads(actor, tenant).filter(finished_at=None)[:MOST_UNFINISHED]
    return {
        "tenant": tenant,
        "upload": NewImageForm(),
        "url": form,
        "unfinished": [_line(upload) for upload in unfinished],
        "meters": [meter("image_mib", usage.used["image_mib"], usage.limits["image_mib"])],
        "most_gib": settings.IMAGE_MOST_BYTES // GIB,
        "hours": settings.UPLOAD_HOURS,
    }


def _line(upload: ImageUpload) -> UploadLine:
    words = f"{size(intake.received(upload.pk))} of {size(upload.size_bytes)}"
    return UploadLine(upload.pk, upload.name, words, upload.size_bytes, upload.expires_at)
