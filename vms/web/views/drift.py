"""The drift inbox of the provider's administrators."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice
from portal.web.paging import page_of
from vms import selectors
from vms.models import DriftState
from vms.resolutions import Resolution
from vms.services.drift import resolve
from vms.web import drift as present

FILTERS = {"": "Open", "ignored": "Ignored", "resolved": "Resolved"}
_DONE = {Resolution.IGNORE: "It is ignored until it changes itself.", Resolution.REOPEN: "It is open again."}


@require_safe
def drift_list(request: HttpRequest) -> HttpResponse:
    return render(request, "drift/list.html", _context(request))


@require_safe
def drift_cards(request: HttpRequest) -> HttpResponse:
    """The part of the page that changes by itself."""
    return render(request, "drift/_cards.html", _context(request))


@require_POST
def drift_resolve(request: HttpRequest, drift_id: UUID, resolution: str) -> HttpResponse:
    if resolution not in list(Resolution):
        raise Http404
    actor = actor_of(request)
    drift = selectors.one_drift(actor, drift_id, Permission.HOST_WRITE)
    with refusals_as_notice(request):
        operation = resolve(actor=actor, drift=drift, resolution=Resolution(resolution))
        if operation is not None:
            return redirect("operation-detail", operation.pk)
        messages.info(request, _DONE[Resolution(resolution)])
    return redirect("drift-list")


def _context(request: HttpRequest) -> dict[str, Any]:
    actor, chosen = actor_of(request), request.GET.get("state", "")
    chosen = chosen if chosen in FILTERS else ""
    page = page_of(request, selectors.drift(actor, state=chosen or DriftState.OPEN))
    busy = selectors.busy_with(page.rows)
    return {
        "page": page,
        "cards": [present.card(actor, drift, busy.get(drift.pk)) for drift in page.rows],
        "chosen": chosen,
        "chips": [
            {"label": label, "url": f"?state={key}" if key else "?", "is_current": key == chosen}
            for key, label in FILTERS.items()
        ],
    }
