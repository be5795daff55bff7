"""Backup targets, as the provider's administrators keep them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hosts import selectors
from hosts.models import BackupTarget, TargetReach
from hosts.services import targets as services
from portal.core.units import size
from portal.operations.models import Operation
from portal.operations.selectors import active_on_each
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from portal.web.paging import page_of


class TargetForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="What tenants see.")
    slug = forms.CharField(max_length=40, help_text="Its name in the API: lower-case letters, digits and hyphens.")
    path = forms.CharField(
        label="Directory",
        max_length=300,
        help_text="An absolute path, the same on every host: an NFS mount, or another disk. It is made where missing.",
        widget=forms.TextInput(attrs={"placeholder": "/srv/backups", "spellcheck": "false", "autocomplete": "off"}),
    )


@dataclass(frozen=True)
class ReachLine:
    """What one host sees. `percent` is how full it is."""

    host: str
    is_reached: bool
    problem: str
    words: str
    percent: int
    checked_at: datetime


@dataclass(frozen=True)
class TargetCard:
    id: UUID
    name: str
    slug: str
    path: str
    is_default: bool
    is_active: bool
    reaches: list[ReachLine]
    operation_url: str
    check_url: str
    change_url: str
    remove_url: str


@require_safe
def target_list(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    actor.require(Permission.HOST_READ)
    page = page_of(request, selectors.targets(actor))
    busy = active_on_each(target.pk for target in page.rows)
    context = {
        "page": page,
        "targets": [_card(target, busy) for target in page.rows],
        "may_write": actor.can(Permission.HOST_WRITE),
        "why_not": actor.why_not(Permission.HOST_WRITE),
    }
    return render(request, "hosts/targets.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def target_add(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    actor.require(Permission.HOST_WRITE)
    form = TargetForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.add_target(actor=actor, **form.cleaned_data)
            messages.info(request, "Every host is looking whether it reaches it.")
            return redirect("target-list")
    context = {"form": form, "submit": "Add backup target", "cancel_url": reverse("target-list")}
    return render(request, "hosts/target_add.html", context, status=status_of(form))


@require_POST
def target_check(request: HttpRequest, slug: str) -> HttpResponse:
    actor = actor_of(request)
    target = selectors.target(actor, slug)
    with refusals_as_notice(request):
        services.check(actor=actor, target=target)
        messages.info(request, "Every host is looking whether it reaches it.")
    return redirect("target-list")


@require_POST
def target_change(request: HttpRequest, slug: str) -> HttpResponse:
    """POST `active` ("yes" or "no"), or `default`."""
    actor = actor_of(request)
    target = selectors.target(actor, slug)
    wanted: dict[str, Any] = {"is_default": True} if "default" in request.POST else {}
    if "active" in request.POST:
        wanted["is_active"] = request.POST["active"] == "yes"
    with refusals_as_notice(request):
        services.change(actor=actor, target=target, **wanted)
    return redirect("target-list")


@require_POST
def target_remove(request: HttpRequest, slug: str) -> HttpResponse:
    actor = actor_of(request)
    target = selectors.target(actor, slug)
    with refusals_as_notice(request):
        services.forget(actor=actor, target=target)
        messages.success(request, "It is no backup target any more. Its directory stays as it is.")
    return redirect("target-list")


def _card(target: BackupTarget, busy: Mapping[UUID, Operation]) -> TargetCard:
    operation = busy.get(target.pk)
    return TargetCard(
        id=target.pk,
        name=target.name,
        slug=target.slug,
        path=target.path,
        is_default=target.is_default,
        is_active=target.is_active,
        reaches=[_line(reach) for reach in target.reaches.all()],
        operation_url=reverse("operation-detail", args=[operation.pk]) if operation else "",
        check_url=reverse("target-check", args=[target.slug]),
        change_url=reverse("target-change", args=[target.slug]),
        remove_url=reverse("target-remove", args=[target.slug]),
    )


def _line(reach: TargetReach) -> ReachLine:
    used = reach.capacity_bytes - reach.available_bytes
    return ReachLine(
        host=reach.host.name,
        is_reached=reach.is_reached,
        problem=reach.problem,
        words=f"{size(used)} of {size(reach.capacity_bytes)}",
        percent=round(100 * used / reach.capacity_bytes) if reach.capacity_bytes else 0,
        checked_at=reach.checked_at,
    )
