"""A form that is sent twice acts once: by a double click, a reload, or going back and sending it again.

Each form carries a key of its own ({% once_key %}). What it did and where it led are kept in one transaction, as for
the API's Idempotency-Key. A form that was changed before it is sent again means something else, and acts. What was
refused is not kept, so that it can be tried again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from portal.accounts.models import User
from portal.api.kept import act_once, find
from portal.api.models import KeptAnswer
from portal.core.errors import DomainError, Invalid
from portal.web.errors import domain_error

FIELD = "idempotency_key"
_REALM = "pages"
_NOT_CONTENT = ("csrfmiddlewaretoken",)


class OnceMiddleware:
    """For each form with a key, whatever its view; the API, which needs no CSRF token, has its own way."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> HttpResponse | None:
        is_form = request.method == "POST" and not getattr(view, "csrf_exempt", False)
        if not is_form or FIELD not in request.POST or not isinstance(request.user, User):
            return None
        try:
            return _once(request, request.user, lambda: view(request, *args, **kwargs))
        except DomainError as error:  # Django shows only a view's own exceptions to the other middleware
            return domain_error(request, error)


def refused(request: HttpRequest) -> None:
    """Say that this form did nothing, although its answer leads on."""
    request._did_nothing = True  # type: ignore[attr-defined]


def _once(request: HttpRequest, user: User, act: Callable[[], HttpResponse]) -> HttpResponse:
    wanted = _wanted(request, user)
    if (kept := find(wanted)) is not None:
        return _replay(request, kept)
    answer = act_once(wanted, act, lambda response: _note(wanted, request, response))
    return _replay(request, answer) if isinstance(answer, KeptAnswer) else answer


def _wanted(request: HttpRequest, user: User) -> KeptAnswer:
    try:
        key = UUID(request.POST[FIELD])
    except ValueError as error:
        raise Invalid("Open the form anew: its key is damaged.", code="invalid_idempotency_key", field=FIELD) from error
    content = sorted((name, values) for name, values in request.POST.lists() if name not in _NOT_CONTENT)
    fingerprint = hashlib.sha256(json.dumps([request.get_full_path(), content]).encode()).hexdigest()
    return KeptAnswer(user=user, realm=_REALM, key=f"{key} {fingerprint}", fingerprint=fingerprint)


def _note(wanted: KeptAnswer, request: HttpRequest, response: HttpResponse) -> bool:
    """Only what was done: it leads on, or is 201 and shows what can be seen only now."""
    wanted.status, wanted.location = response.status_code, response.get("Location", "")
    return response.status_code in (201, 302) and not hasattr(request, "_did_nothing")


def _replay(request: HttpRequest, kept: KeptAnswer) -> HttpResponse:
    shown = " What it showed cannot be shown again." if kept.status == 201 else ""
    messages.info(request, f"This form was sent before, and was carried out once.{shown}")
    return redirect(kept.location or request.get_full_path())
