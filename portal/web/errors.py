"""Pages for what went wrong: what it is, and what to do next."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from portal.core.errors import DomainError
from portal.web.actor import request_id

TEMPLATES = {400, 403, 404, 409, 429, 500, 503}


def error_page(request: HttpRequest, status: int, detail: str = "") -> HttpResponse:
    template = f"errors/{status if status in TEMPLATES else 500}.html"
    return render(request, template, {"detail": detail, "request_id": request_id()}, status=status)


def domain_error(request: HttpRequest, error: DomainError) -> HttpResponse:
    error.remember()
    return error_page(request, error.status, error.detail)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, 400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, 403)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    return error_page(request, 500)


def csrf_failure(request: HttpRequest, reason: str = "", **kwargs: Any) -> HttpResponse:
    """Too old, or sent from elsewhere; `reason` is for developers."""
    return render(request, "errors/csrf.html", {"request_id": request_id()}, status=403)
