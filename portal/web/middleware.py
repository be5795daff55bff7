"""Around each request: its id, what caches may keep, and refusals that no form took up, which become error pages."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import cast
from uuid import uuid4

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.decorators import sync_and_async_middleware

from portal.core.errors import DomainError
from portal.tenancy.bars import SECOND_FACTOR
from portal.web.errors import domain_error

REQUEST_ID = "X-Request-ID"
_HARMLESS = re.compile(r"[A-Za-z0-9._-]{8,64}")


@sync_and_async_middleware
def request_id_middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[..., object]:
    """Each request has an id, the caller's own where that is harmless; logs, operations and the answer carry it."""
    if iscoroutinefunction(get_response):
        respond_later = cast(Callable[[HttpRequest], Awaitable[HttpResponse]], get_response)

        async def respond(request: HttpRequest) -> HttpResponse:
            id = _give_id(request)
            return _with_id(await respond_later(request), id)

        return respond

    def respond_now(request: HttpRequest) -> HttpResponse:
        id = _give_id(request)
        return _with_id(get_response(request), id)

    return respond_now


@sync_and_async_middleware
def keep_out_of_caches(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[..., object]:
    """What somebody may see is nobody else's, nor a shared browser's: answers say so unless they say something else."""
    if iscoroutinefunction(get_response):
        respond_later = cast(Callable[[HttpRequest], Awaitable[HttpResponse]], get_response)

        async def respond(request: HttpRequest) -> HttpResponse:
            return _uncached(await respond_later(request))

        return respond
    return lambda request: _uncached(get_response(request))


def _uncached(response: HttpResponse) -> HttpResponse:
    response.headers.setdefault("Cache-Control", "private, no-store")
    return response


def _give_id(request: HttpRequest) -> str:
    """django-structlog reads it from there."""
    given = request.META.get("HTTP_X_REQUEST_ID", "")
    id = given if _HARMLESS.fullmatch(given) else uuid4().hex
    request.META["HTTP_X_REQUEST_ID"] = id
    return id


def _with_id(response: HttpResponse, id: str) -> HttpResponse:
    response.headers[REQUEST_ID] = id
    return response


class DomainErrorMiddleware:
    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, DomainError):
            return None
        if exception.code == SECOND_FACTOR and _is_for_a_page(request):
            messages.warning(request, exception.detail)
            return redirect("mfa_index")
        return domain_error(request, exception)


def _is_for_a_page(request: HttpRequest) -> bool:
    """And not for a part of one, which scripts fetch."""
    return request.method == "GET" and request.headers.get("Sec-Fetch-Dest", "document") == "document"
