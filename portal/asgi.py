"""The ASGI application: pages and API by Django, consoles by their bridge; every other connection is refused."""

from __future__ import annotations

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django = get_asgi_application()

from portal.core import presence  # noqa: E402  these need the apps loaded
from portal.events.hub import hub  # noqa: E402
from portal.limits import limited  # noqa: E402
from portal.streams import Streamed  # noqa: E402
from vms.api.intake import STREAMED  # noqa: E402
from vms.console import bridge  # noqa: E402

pages = Streamed(django, otherwise=limited(django), routes=STREAMED)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """ASGI 3: https://asgi.readthedocs.io/en/latest/specs/main.html"""
    if scope["type"] == "http":
        await pages(scope, receive, send)
    elif scope["type"] == "websocket":
        await _websocket(scope, receive, send)
    elif scope["type"] == "lifespan":
        await _lifespan(receive, send)


async def _websocket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    secret = bridge.ticket_in(scope["path"])
    if secret is None:
        await send({"type": "websocket.close"})  # before accept: the server answers 403
    else:
        await bridge.serve(scope, receive, send, secret)


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            presence.hold()
            hub.start()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await hub.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return
