"""A server that takes messages, or does not, as a test tells it."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Fault = Callable[[int], str]  # of the how many-th request; "" is none


@dataclass(frozen=True)
class Message:
    headers: dict[str, str]
    raw: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def body(self) -> dict[str, Any]:
        return dict(json.loads(self.raw))


class Receiver(ThreadingHTTPServer):
    """`taken` are the messages that it answered with 200, in order; `seen` all that came, lost or not.

    Faults: `drop` closes without an answer, `lost` takes it and closes, `slow` waits, a number is the status,
    `to:URL` redirects, `long` answers without an end, `trickle` never ends its headers.
    """

    daemon_threads = True
    slow_seconds = 1.0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault: Fault = lambda count: ""
        self.on_message: Callable[[Message], object] = lambda message: None
        self.headers: dict[str, str] = {}
        self.seen: list[Message] = []
        self.taken: list[Message] = []
        self.lock = threading.Lock()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.place}/hook"

    def secure(self, certificate: Path, key: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
        message = Message({name.lower(): value for name, value in self.headers.items()}, raw)
        with self.server.lock:
            fault = self.server.fault(len(self.server.seen))
            self.server.seen.append(message)
            if fault in ("", "lost", "slow", "long"):
                self.server.taken.append(message)
                self.server.on_message(message)
        with suppress(OSError):
            self._answer(fault)

    def _answer(self, fault: str) -> None:
        if fault in ("drop", "lost"):
            self.close_connection = True
            return
        if fault == "slow":
            time.sleep(self.server.slow_seconds)
        if fault == "trickle":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for _ in range(100):
                time.sleep(0.1)
                self.wfile.write(b"X-A: b\r\n")
        if fault == "long":
            self.send_response(200)
            self.end_headers()
            for _ in range(64):
                self.wfile.write(b"x" * 65536)
            self.close_connection = True
            return
        self.send_response(302 if fault.startswith("to:") else int(fault) if fault.isdigit() else 200)
        if fault.startswith("to:"):
            self.send_header("Location", fault[3:])
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
