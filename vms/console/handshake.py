"""Who may open a console: asked in full before the WebSocket is accepted, and so before any byte of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest

from portal.accounts.models import User
from vms.models import ConsoleTicket
from vms.services import console

_HTTP_SCHEME = {"ws": "http", "wss": "https"}


@dataclass(frozen=True, slots=True)
class Admission:
    """A redeemed ticket, and the browser's session it was redeemed in ("" where a program asked for it)."""

    ticket: ConsoleTicket
    session_key: str


def admit(scope: dict[str, Any], secret: str) -> Admission | None:
    """None where the Origin is not ours or the ticket is good for nothing; which of them, nobody is told."""
    request = _as_request(scope)
    if not from_our_pages(request):
        return None
    session_key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    ticket = console.redeem(secret, user=user_of(session_key), session_key=session_key)
    return Admission(ticket, ticket.session_key) if ticket else None


def from_our_pages(request: ASGIRequest) -> bool:
    """Browsers always send Origin with a WebSocket; without one, or with another site's, it is refused."""
    try:
        own = f"{request.scheme}://{request.get_host()}"
    except DisallowedHost:
        return False
    public = urlsplit(settings.PUBLIC_URL)
    ours = {own, f"{public.scheme}://{public.netloc}", *settings.CSRF_TRUSTED_ORIGINS}
    return request.headers.get("Origin", "") in ours


def user_of(session_key: str) -> User | None:
    """The active user who is signed in with this session now."""
    if not session_key:
        return None
    request = ASGIRequest({"type": "http", "method": "GET", "path": "/", "headers": []}, BytesIO())
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    return user if isinstance(user, User) and user.is_active else None


def _as_request(scope: dict[str, Any]) -> ASGIRequest:
    """The handshake as the HTTP request it is, so that Django reads host, scheme and cookies by its own rules."""
    return ASGIRequest({**scope, "type": "http", "method": "GET", "scheme": _HTTP_SCHEME[scope["scheme"]]}, BytesIO())
