"""Bodies that are too large to be taken in whole: their views read them piece by piece, as they come.

Django would first write the whole body to a temporary file, and lose it where the connection breaks. Here it sees a
request without one, runs all its middleware and the view, and the view reads the body from the connection itself. The
server takes no more from the network than it has handed on, so nothing grows.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import TimeoutError as Late
from contextlib import contextmanager
from typing import Any

from django.http import HttpRequest

from portal.core.connection import release
from portal.core.errors import DomainError

SCOPE_KEY = "berth.body"
SILENCE_SECONDS = 60.0
PATIENCE_SECONDS, SLOWEST_BYTES_PER_SECOND = 60.0, 1024
MOST_AT_ONCE = 32  # of one web process; each takes a thread
_PIECE = 64 * 1024
_slots = threading.BoundedSemaphore(MOST_AT_ONCE)


class Lost(Exception):
    """The connection broke, or the rest does not come; what came is good."""


class TooMany(DomainError):
    """Nobody else's upload is slowed down for one more."""

    status = 503
    code = "too_many_uploads"


class Body:
    """A body on its way. `content_type` and `length` are as announced; `length` is None where nothing was."""

    def __init__(self, scope: dict[str, Any], receive: Any) -> None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        self.content_type = headers.get(b"content-type", b"").decode("latin-1")
        self.length = int(length) if length.isdigit() and len(length) < 19 else None
        self._receive = receive
        self._loop = asyncio.get_running_loop()

    def pieces(self) -> Iterator[bytes]:
        """For a thread beside the event loop."""
        is_last, came, began = False, 0, time.monotonic()
        while not is_last:
            message = self._next()
            if message["type"] == "http.disconnect":
                raise Lost
            is_last = not message.get("more_body", False)
            came += len(message.get("body", b""))
            yield message.get("body", b"")
            took = time.monotonic() - began
            if took > PATIENCE_SECONDS and came < took * SLOWEST_BYTES_PER_SECOND:
                raise Lost

    def _next(self) -> dict[str, Any]:
        coming = asyncio.run_coroutine_threadsafe(self._receive(), self._loop)
        try:
            message: dict[str, Any] = coming.result(SILENCE_SECONDS)
        except Late as error:
            coming.cancel()
            raise Lost from error
        return message


class _Whole:
    """The same of a request whose body is small, or that came another way than by ASGI."""

    def __init__(self, request: HttpRequest) -> None:
        self.content_type = request.headers.get("Content-Type", "")
        length = request.headers.get("Content-Length", "")
        self.length = int(length) if length.isdigit() else None
        self._request = request

    def pieces(self) -> Iterator[bytes]:
        while piece := self._request.read(_PIECE):
            yield piece


def body_of(request: HttpRequest) -> Body | _Whole:
    found: Body | None = getattr(request, "scope", {}).get(SCOPE_KEY)
    return found or _Whole(request)


@contextmanager
def taking(request: HttpRequest) -> Iterator[Iterator[bytes]]:
    """The pieces of the body, for as long as they take: with no connection to the database kept meanwhile."""
    if not _slots.acquire(blocking=False):
        raise TooMany("Too many uploads are under way; go on with this one in a moment.")
    try:
        release()
        yield body_of(request).pieces()
    finally:
        _slots.release()


class Streamed:
    """The ASGI application, whose requests that `routes` match (methods, path, beginning of the type) are streamed."""

    def __init__(self, application: Any, otherwise: Any, routes: list[tuple[str, re.Pattern[str], str]]) -> None:
        self._application = application
        self._otherwise = otherwise
        self._routes = routes

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if self._is_streamed(scope):
            body = Body(scope, receive)
            await self._application({**scope, SCOPE_KEY: body, "headers": _bodiless(scope)}, _Nothing(), send)
        else:
            await self._otherwise(scope, receive, send)

    def _is_streamed(self, scope: dict[str, Any]) -> bool:
        kind = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1").lower()
        return any(
            scope["method"] == method and path.fullmatch(scope["path"]) and kind.startswith(beginning)
            for method, path, beginning in self._routes
        )


def _bodiless(scope: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    about_the_body = (b"content-length", b"content-type", b"transfer-encoding")
    return [(name, value) for name, value in scope["headers"] if name not in about_the_body]


class _Nothing:
    """What Django receives: an empty body, and no word of a connection that breaks, which the view hears of itself."""

    def __init__(self) -> None:
        self._is_told = False

    async def __call__(self) -> dict[str, Any]:
        if self._is_told:
            await asyncio.Event().wait()
        self._is_told = True
        return {"type": "http.request", "body": b"", "more_body": False}
