"""The console's WebSocket: handshake, the machine's socket, and the relay between them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
from typing import Any

from hosts.connections import driver_for
from hosts.driver.errors import DriverError, InvalidState, NotFound, Unsupported
from vms.console.closing import ENDED, HOST_SILENT, STOPPED, UNSUPPORTED, Closing
from vms.console.handshake import Admission, admit
from vms.console.relay import Relay
from vms.console.threads import ask, begin_opening
from vms.console.watch import reason_to_close
from vms.models import ConsoleTicket

OPEN_SECONDS = 20.0
CLOSE_SECONDS = 5.0
SUBPROTOCOL = "binary"
_PATH = re.compile(r"/ws/console/([A-Za-z0-9_-]{32})")
log = logging.getLogger(__name__)
_open = 0


def open_consoles() -> int:
    """How many consoles this process relays now."""
    return _open


def address_of(secret: str) -> str:
    return f"/ws/console/{secret}"


def ticket_in(path: str) -> str | None:
    """The ticket's text, where the path is that of a console."""
    match = _PATH.fullmatch(path)
    return match.group(1) if match else None


async def serve(scope: dict[str, Any], receive: Any, send: Any, secret: str) -> None:
    """One WebSocket from handshake to close."""
    await receive()
    admission = await ask(admit, scope, secret)
    if admission is None:
        await send({"type": "websocket.close"})  # before accept: the server answers 403
        return
    subprotocol = SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", ()) else None
    await send({"type": "websocket.accept", "subprotocol": subprotocol})
    closing = await _relayed(receive, send, admission)
    if closing is not None:
        with contextlib.suppress(OSError):  # also TimeoutError: a browser that reads nothing is not waited for
            async with asyncio.timeout(CLOSE_SECONDS):
                await send({"type": "websocket.close", "code": closing.code, "reason": closing.reason})


async def _relayed(receive: Any, send: Any, admission: Admission) -> Closing | None:
    global _open  # noqa: PLW0603  one event loop counts its own consoles
    try:
        machine = await _connected(admission.ticket)
    except (InvalidState, NotFound):
        return STOPPED
    except Unsupported:
        return UNSUPPORTED
    except (DriverError, OSError) as error:  # TimeoutError is an OSError
        log.warning("console of vm %s not opened: %s", admission.ticket.vm_id, error)
        return HOST_SILENT
    _open += 1
    try:
        closing = await Relay(receive, send, machine, admission).run()
    finally:
        _open -= 1
        machine.close()
    if closing is ENDED:  # the machine's end closed first; the database knows why
        return await ask(reason_to_close, admission) or ENDED
    return closing


async def _connected(ticket: ConsoleTicket) -> socket.socket:
    """Raises DriverError, or TimeoutError where the host has not answered after OPEN_SECONDS."""
    opening = begin_opening(_open_machine, ticket)
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            return await asyncio.shield(opening)
    except (TimeoutError, asyncio.CancelledError):
        opening.add_done_callback(_close_late)
        raise


def _open_machine(ticket: ConsoleTicket) -> socket.socket:
    driver = driver_for(ticket.vm.host)
    return driver.open_display(ticket.vm_id) if ticket.kind == "display" else driver.open_serial(ticket.vm_id)


def _close_late(opening: asyncio.Future[socket.socket]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
