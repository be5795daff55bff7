"""Where one is signed in, and ending that."""

from __future__ import annotations

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from portal.core.errors import NotFound
from portal.tenancy import credentials
from portal.web.actor import actor_of


@require_http_methods(["GET", "HEAD", "POST"])
def sessions(request: HttpRequest) -> HttpResponse:
    """POST ends all others."""
    own = credentials.sessions_of(actor_of(request))
    current = request.session.session_key
    if request.method == "POST":
        ended = [credentials.end_session(actor=actor_of(request), session=each) for each in _others(own, current)]
        messages.success(request, f"Ended {len(ended)}. Only this one is left.")
        return redirect("sessions")
    return render(request, "accounts/sessions.html", {"sessions": own, "current": current})


@require_POST
def session_end(request: HttpRequest, session_id: int) -> HttpResponse:
    actor = actor_of(request)
    session = next((each for each in credentials.sessions_of(actor) if each.pk == session_id), None)
    if session is None:
        raise NotFound("There is no such session.")
    credentials.end_session(actor=actor, session=session)
    messages.success(request, "Ended. That browser is signed out.")
    return redirect("sessions")


def _others(own: list[UserSession], current: str | None) -> list[UserSession]:
    return [each for each in own if each.session_key != current]
