"""Streams and events."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from uuid import UUID

from hosts.driver.memory.domains import is_on
from hosts.driver.memory.state import Calls
from hosts.driver.types import DomainEvent


class StreamCalls(Calls):
    def open_display(self, uuid: UUID) -> socket.socket:
        """Greets as an RFB server does, and says no more."""
        with self._call("open_display") as host:
            is_on(host, uuid)
        ours, theirs = socket.socketpair()
        ours.sendall(b"RFB 003.008\n")
        threading.Thread(target=_swallow, args=(ours,), daemon=True).start()
        return theirs

    def open_serial(self, uuid: UUID) -> socket.socket:
        """Echoes."""
        with self._call("open_serial") as host:
            is_on(host, uuid)
        ours, theirs = socket.socketpair()
        threading.Thread(target=_echo, args=(ours,), daemon=True).start()
        return theirs

    def watch(self, on_event: Callable[[DomainEvent], None], on_lost: Callable[[], None]) -> Callable[[], None]:
        """Called in the thread of whoever made the change."""
        watcher = (on_event, on_lost)
        with self._call("watch") as host:
            host.watchers.append(watcher)

        def stop() -> None:
            with host.lock:
                host.watchers = [other for other in host.watchers if other is not watcher]

        return stop


def _echo(ours: socket.socket) -> None:
    with ours:
        while data := ours.recv(4096):
            ours.sendall(data)


def _swallow(ours: socket.socket) -> None:
    with ours:
        while ours.recv(4096):
            pass
