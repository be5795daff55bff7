"""Bytes both ways between a WebSocket and a machine's socket, and all that ends them.

Nothing is queued here: each direction holds one piece of at most 64 KiB and reads the next when that one is gone, so
a slow reader slows the machine's output (and a flood waits in the machine), not the portal's memory.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from django.conf import settings

from vms.console.closing import ENDED, HOST_SILENT, IDLE, TOO_LARGE, TOO_SLOW, Closing
from vms.console.handshake import Admission
from vms.console.threads import ask
from vms.console.watch import reason_to_close

PIECE = 64 * 1024
CHECK_SECONDS = 4.0
STALL_SECONDS = 60.0


class Relay:
    """One open console; `run` returns why it ended, or None where the browser went away."""

    def __init__(self, receive: Any, send: Any, machine: socket.socket, admission: Admission) -> None:
        self._receive = receive
        self._send = send
        self._machine = machine
        self._admission = admission
        self._loop = asyncio.get_running_loop()
        self._typed_at = self._loop.time()

    async def run(self) -> Closing | None:
        self._machine.setblocking(False)
        parts = (self._from_browser(), self._to_browser(), self._watch())
        tasks = [self._loop.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _from_browser(self) -> Closing | None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return None
            piece = message.get("bytes") or (message.get("text") or "").encode()
            if len(piece) > PIECE:
                return TOO_LARGE
            self._typed_at = self._loop.time()
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await self._loop.sock_sendall(self._machine, piece)
            except TimeoutError:
                return HOST_SILENT
            except OSError:
                return ENDED

    async def _to_browser(self) -> Closing | None:
        while True:
            try:
                piece = await self._loop.sock_recv(self._machine, PIECE)
            except OSError:
                return ENDED
            if not piece:
                return ENDED
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await self._send({"type": "websocket.send", "bytes": piece})
            except TimeoutError:
                return TOO_SLOW
            except OSError:  # how ASGI servers say that the browser is gone
                return None

    async def _watch(self) -> Closing | None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if self._loop.time() - self._typed_at > settings.CONSOLE_IDLE_SECONDS:
                return IDLE
            if reason := await ask(reason_to_close, self._admission):
                return reason
