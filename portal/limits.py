"""No body is taken in whole before it is known to be of a size that anybody here reads."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings

# Forms carry the same text as the API with more words around it.
MOST_BYTES = 2 * settings.DATA_UPLOAD_MAX_MEMORY_SIZE
_DETAIL = "The body is too large."
_PROBLEM = {"type": "about:blank", "title": "Too large", "status": 413, "code": "too_large", "detail": _DETAIL}


class _TooLarge(Exception):
    """More arrives than may."""


def limited(application: Any) -> Any:
    """The ASGI application, answering 413 where a request's body is larger; what has no length is counted."""

    async def serve(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if _announced(scope) > MOST_BYTES:
            await _refuse(send)
            return
        taken, begun = 0, False

        async def receive_some() -> dict[str, Any]:
            nonlocal taken
            message: dict[str, Any] = await receive()
            taken += len(message.get("body", b""))
            if taken > MOST_BYTES:
                raise _TooLarge
            return message

        async def send_on(message: dict[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await application(scope, receive_some, send_on)
        except _TooLarge:
            if not begun:
                await _refuse(send)

    return serve


def _announced(scope: dict[str, Any]) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0


async def _refuse(send: Any) -> None:
    body = json.dumps(_PROBLEM).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
