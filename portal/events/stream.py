"""The live stream of a page: server-sent events that name what changed (https://html.spec.whatwg.org/#server-sent-events)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import UUID

from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied
from django.db import close_old_connections
from django.http import HttpRequest, StreamingHttpResponse
from django.views.decorators.http import require_GET

from portal.accounts.models import User
from portal.events.audience import Audience, audiences_of
from portal.events.hub import EVERYTHING, hub

HEARTBEAT_SECONDS = 15.0
GATHER_SECONDS = 0.1
RETRY_MILLISECONDS = 2000


@require_GET
async def live(request: HttpRequest) -> StreamingHttpResponse:
    """Messages `{"topics": ["vm:<id>", ...]}`; the topic "*" stands for everything.

    A browser that comes back says so by Last-Event-ID: it has missed something, whatever the id says.
    """
    user_id, audience = await sync_to_async(_who)(request)
    came_back = "Last-Event-ID" in request.headers
    response = StreamingHttpResponse(_messages(user_id, audience, came_back), content_type="text/event-stream")
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


async def _messages(user_id: UUID, audience: Audience, came_back: bool) -> AsyncIterator[str]:
    listener = hub.join(user_id, audience)
    if came_back:
        listener.tell([EVERYTHING])
    try:
        yield f"retry: {RETRY_MILLISECONDS}\nid: live\n\n"
        while not listener.is_closed:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await listener.news.wait()
            except TimeoutError:
                yield ": alive\n\n"
                continue
            await asyncio.sleep(GATHER_SECONDS)
            if topics := listener.take():
                yield f"data: {json.dumps({'topics': topics})}\n\n"
    finally:
        hub.leave(listener)
