"""Somebody with a session in front of a machine's console, and what they see of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
import websockets
from django.conf import settings
from websockets.asyncio.client import ClientConnection, connect

from portal.tenancy.gate import actor_for
from tests.live import people
from tests.live.site import Site
from vms.services import console


class Visit:
    """Somebody with a session at a machine's console."""

    def __init__(self, site: Site, on: str = "echoes") -> None:
        self.site = site
        self.tenant = people.tenant()
        self.person = people.member(self.tenant)
        self.session_key = people.session(self.person)
        self.vm = people.vm(self.tenant, on)

    def ticket(self, kind: str = "serial", session_key: str | None = None) -> str:
        key = self.session_key if session_key is None else session_key
        return console.issue_ticket(actor=actor_for(self.person), vm=self.vm, kind=kind, session_key=key)

    def connect(self, secret: str, **changes: Any) -> connect:
        """A handshake as a browser makes it, but for the `changes`."""
        cookie = f"{settings.SESSION_COOKIE_NAME}={changes.pop('session_key', self.session_key)}"
        arguments = {"origin": self.site.origin, "subprotocols": ["binary"], "additional_headers": {"Cookie": cookie}}
        path = changes.pop("path", f"/ws/console/{secret}")
        return connect(f"ws://127.0.0.1:{self.site.port}{path}", **{**arguments, **changes})


async def refused(handshake: connect) -> None:
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with handshake:
            pass
    assert caught.value.response.status_code == 403


async def closed(socket: ClientConnection, seconds: float) -> tuple[int, str]:
    """The close code and its words; bytes on the way are thrown away."""
    async with asyncio.timeout(seconds):
        with suppress(websockets.ConnectionClosed):
            while True:
                await socket.recv()
    return socket.close_code or 0, socket.close_reason or ""


def never_opened(visit: Visit) -> bool:
    return str(visit.vm.pk) not in visit.site.opened()
