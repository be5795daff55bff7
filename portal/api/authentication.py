"""Who asks: a program by its token, or a page of ours by the browser's session."""

from __future__ import annotations

from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from portal.accounts import tokens
from portal.accounts.models import ApiToken, User
from portal.core.errors import Forbidden
from portal.tenancy.gate import Actor, actor_for
from portal.web.actor import address_of, request_id


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer TOKEN`. A token that is sent decides, whatever cookies come with it."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = tokens.find(text.strip(), address_of(request))
        if token is None:
            raise AuthenticationFailed(
                "This token is unknown, expired, revoked, or not for this address.", code="invalid_token"
            )
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="berth"'


class BrowserSessionAuthentication(SessionAuthentication):
    """The session of somebody who signed in; what changes something must carry the CSRF token."""

    def enforce_csrf(self, request: Request) -> None:
        try:
            super().enforce_csrf(request)
        except PermissionDenied as error:
            raise Forbidden("Send the CSRF token in X-CSRFToken, or use an API token.", code="csrf_failed") from error


def actor_of(request: Request) -> Actor:
    """The actor behind an authenticated request."""
    token = request.auth
    assert isinstance(request.user, User)
    assert token is None or isinstance(token, ApiToken)
    source = f"token {token.name}" if token else "UI"
    return actor_for(request.user, token=token, source=source, request_id=request_id())
