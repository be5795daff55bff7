"""The live stream of a page: server-sent events that name what changed (https://html.spec.whatwg.org/#server-sent-events)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied
from django.db import close_old_connections
from django.http import HttpRequest, StreamingHttpResponse
from django.views.decorators.http import require_GET

from portal.accounts.models import User
from portal.events.audience import Audience, audiences_of
from portal.events.hub import Listener, hub

HEARTBEAT_SECONDS = 15.0
GATHER_SECONDS = 0.1
RETRY_MILLISECONDS = 2000


@require_GET
async def live(request: HttpRequest) -> StreamingHttpResponse:
    """Messages `{"topics": ["vm:<id>", ...]}`; the topic "*" stands for everything, none for "still here".

    Each message's id is a place in the stream of changes. A browser that comes back says it by Last-Event-ID, a page
    that opens a new stream by `?since=`, which may also be milliseconds since 1970: it is told what came after, or "*"
    where that is not known any more.
    """
    user_id, audience = await sync_to_async(_who)(request)
    place = request.headers.get("Last-Event-ID", request.GET.get("since"))
    response = StreamingHttpResponse(_messages(user_id, audience, place), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


def _who(request: HttpRequest) -> tuple[UUID, Audience]:
    """Asked in the request's own thread, whose database connection is given back before the long stream begins."""
    assert isinstance(request.user, User)
    try:
        user_id = request.user.pk
        audience = audiences_of([user_id]).get(user_id)
    finally:
        close_old_connections()
    if audience is None:
        raise PermissionDenied
    return user_id, audience


async def _messages(user_id: UUID, audience: Audience, place: str | None) -> AsyncIterator[str]:
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    listener = await hub.join(user_id, audience)
    try:
        if place is not None:
            await hub.catch_up(listener, place)
        yield _message(listener)
        while not listener.is_closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await listener.news.wait()
                    await asyncio.sleep(GATHER_SECONDS)
            yield _message(listener)
    finally:
        hub.leave(listener)


def _message(listener: Listener) -> str:
    """What there is to tell, and the place where that leaves the page; without topics it keeps the connection alive."""
    place = f"id: {hub.place}\n" if hub.place else ""
    return f"{place}data: {json.dumps({'topics': listener.take()})}\n\n"
