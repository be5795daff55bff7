"""Machines whose screens and serial ports are sockets of this process; a host's name says how its machines behave."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from uuid import UUID

from hosts.driver.errors import InvalidState, Unsupported

GREETING = b"RFB 003.008\n"
OPENED = "opened.log"


class Machines:
    def __init__(self, host: str) -> None:
        self._host = host

    def open_display(self, uuid: UUID) -> socket.socket:
        return self._open(uuid, "display")

    def open_serial(self, uuid: UUID) -> socket.socket:
        return self._open(uuid, "serial")

    def _open(self, uuid: UUID, kind: str) -> socket.socket:
        with Path(os.environ["BERTH_DATA"], OPENED).open("a") as log:
            log.write(f"{uuid} {kind}\n")
        if self._host == "hangs":
            time.sleep(10)
        if self._host == "off":
            raise InvalidState("the domain is not running")
        if self._host == "remote":
            raise Unsupported("no way to its sockets")
        ours, theirs = socket.socketpair()
        threading.Thread(target=self._play, args=(theirs, kind), daemon=True).start()
        return ours

    def _play(self, end: socket.socket, kind: str) -> None:
        with end:
            if self._host == "ends":
                return
            if kind == "display":
                end.sendall(GREETING)
            while self._host == "floods":
                end.sendall(b"x" * 65536)
            while piece := end.recv(65536):
                end.sendall(piece)
