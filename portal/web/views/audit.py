"""The whole log, as the provider's staff read and export it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from portal.core.connection import released
from portal.core.errors import Invalid, NotFound
from portal.events import export, selectors
from portal.events.selectors import Filter
from portal.tenancy import selectors as tenancy
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.paging import page_of
from portal.web.presenters import event as present

_TIME = {"type": "datetime-local", "step": "1"}


class AuditForm(forms.Form):
    """The conditions, as they stand in the address. Times are UTC."""

    actor = forms.CharField(required=False, max_length=150, label="By whom", help_text="User name, or “system”.")
    kind = forms.CharField(required=False, max_length=60, label="Kind", help_text="Such as vm, vm.renamed, quota.")
    tenant = forms.CharField(required=False, max_length=63, help_text="Its slug.")
    since = forms.DateTimeField(required=False, label="From (UTC)", widget=forms.DateTimeInput(attrs=_TIME))
    until = forms.DateTimeField(required=False, label="Until (UTC)", widget=forms.DateTimeInput(attrs=_TIME))

    def __init__(self, *args: Any, actor: Actor) -> None:
        super().__init__(*args)
        self._actor = actor

    def clean_tenant(self) -> Tenant | None:
        slug = self.cleaned_data["tenant"]
        try:
            return tenancy.tenant(self._actor, slug) if slug else None
        except NotFound as error:
            raise ValidationError(error.detail) from error

    @property
    def wanted(self) -> Filter:
        return Filter(**self.cleaned_data)


@require_safe
def provider_audit(request: HttpRequest) -> HttpResponse:
    form = _form(request)
    rows = selectors.events(actor_of(request), form.wanted if form.is_valid() else Filter())
    page = page_of(request, rows)
    query = request.GET.copy()
    query.pop("after", None)
    found = present.rows(page.rows, for_provider=True)
    context = {"form": form, "page": page, "events": found, "query": query.urlencode()}
    return render(request, "portal/provider_audit.html", context, status=200 if form.is_valid() else 422)


@require_safe
def provider_audit_export(request: HttpRequest) -> StreamingHttpResponse:
    """`?format=` jsonl or csv, with the page's conditions; oldest first, and as much as there is."""
    actor, form = actor_of(request), _form(request)
    if not form.is_valid():
        raise Invalid("These conditions make no sense; look at the page.")
    kind = request.GET.get("format", "jsonl")
    if kind not in export.FORMATS:
        raise Invalid("Choose jsonl or csv.", field="format")
    content_type, lines = export.FORMATS[kind]
    response = StreamingHttpResponse(_pieces(actor, form.wanted, lines), content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="berth-audit.{kind}"'
    return response


def _form(request: HttpRequest) -> AuditForm:
    actor = actor_of(request)
    actor.require(Permission.HOST_READ)
    return AuditForm(request.GET, actor=actor)


async def _pieces(actor: Actor, wanted: Filter, lines: export.Lines) -> AsyncIterator[str]:
    """A piece at a time, and no connection to the database held meanwhile."""
    last = 0
    piece: str | None = lines([], True)
    while piece is not None:
        yield piece
        last, piece = await sync_to_async(_piece)(actor, wanted, lines, last)


def _piece(actor: Actor, wanted: Filter, lines: export.Lines, last: int) -> tuple[int, str | None]:
    with released():
        events = export.after(selectors.events(actor, wanted), last)
    return (events[-1].pk, lines(events, False)) if events else (last, None)
