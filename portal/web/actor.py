"""Who asks, in a browser."""

from __future__ import annotations

import structlog
from django.http import HttpRequest

from portal.accounts.models import User
from portal.tenancy.gate import Actor, actor_for


def request_id() -> str:
    """The id that the log lines of this request carry."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64]


def address_of(request: HttpRequest) -> str:
    """Where the call comes from. The web server has settled what a proxy that it trusts says; no header is read."""
    return str(request.META.get("REMOTE_ADDR", ""))


def actor_of(request: HttpRequest) -> Actor:
    """The actor behind a signed-in request, found once."""
    if not hasattr(request, "_actor"):
        assert isinstance(request.user, User)
        request._actor = actor_for(request.user, source="UI", request_id=request_id())  # type: ignore[attr-defined]
    actor: Actor = request._actor  # type: ignore[attr-defined]
    return actor
