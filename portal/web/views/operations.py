"""Operations: one with its live stepper, and all of them for the provider."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from portal.operations import selectors, services
from portal.operations.models import Operation
from portal.operations.states import ACTIVE, State
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice
from portal.web.paging import page_of
from portal.web.presenters import operation as present
from portal.web.tenant import tenant_of

FILTERS: dict[str, tuple[str, frozenset[str]]] = {
    "": ("All", frozenset()),
    "active": ("Under way", frozenset(ACTIVE - {State.STUCK})),
    "attention": ("Needs attention", frozenset({State.STUCK})),
    "failed": ("Failed", frozenset({State.FAILED})),
    "done": ("Done", frozenset({State.SUCCEEDED, State.CANCELLED})),
}


@require_safe
def operation_detail(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    return render(request, "operations/detail.html", _context(request, operation_id))


@require_safe
def operation_fragment(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    return render(request, "operations/_stepper.html", _context(request, operation_id))


@require_safe
def operation_indicator(request: HttpRequest) -> HttpResponse:
    """How much is under way, for the top bar."""
    return render(request, "operations/_indicator.html")


@require_POST
def operation_cancel(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    actor = actor_of(request)
    operation = selectors.operation(actor, operation_id)
    with refusals_as_notice(request):
        services.cancel(actor=actor, operation=operation)
        messages.info(request, "It stops at the next safe point and undoes what was done.")
    return redirect("operation-detail", operation_id)


@require_POST
def operation_retry(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    with refusals_as_notice(request):
        services.retry(actor=actor_of(request), operation_id=operation_id)
        messages.info(request, "It goes on from the first step that is not done.")
    return redirect("operation-detail", operation_id)


@require_POST
def operation_unwind(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    with refusals_as_notice(request):
        services.unwind(actor=actor_of(request), operation_id=operation_id)
        messages.info(request, "The undo is tried once more.")
    return redirect("operation-detail", operation_id)


@require_safe
def provider_operations(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    actor.require(Permission.HOST_READ)
    chosen = request.GET.get("state", "")
    page = page_of(request, _filtered(selectors.operations(actor), chosen))
    context = {"page": page, "operations": [present.row(each) for each in page.rows], "chips": _chips(chosen)}
    return render(request, "operations/provider_list.html", context)


def _filtered(rows: QuerySet[Operation], chosen: str) -> QuerySet[Operation]:
    states = FILTERS.get(chosen, FILTERS[""])[1]
    return rows.filter(state__in=states) if states else rows


def _chips(chosen: str) -> list[dict[str, Any]]:
    return [
        {"label": label, "url": f"?state={key}" if key else "?", "is_current": key == chosen}
        for key, (label, _) in FILTERS.items()
    ]


def _context(request: HttpRequest, operation_id: UUID) -> dict[str, Any]:
    actor = actor_of(request)
    operation = selectors.operation(actor, operation_id)
    slug = tenant_of(request, operation.tenant.slug).slug if operation.tenant else ""
    return {"operation": present.view(actor, operation, list(operation.steps.all()), slug)}
