"""A web server of a test's own, which keeps to its words or does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """`trick` is what it does with the next requests; `seen` the requests that came: Host and path."""

    daemon_threads = True

    def __init__(self, data: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.data = data
        self.trick = ""
        self.seen: list[tuple[str, str]] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.seen.append((self.headers["Host"], self.path))
        data, trick = self.server.data, self.server.trick
        if trick.startswith("to:"):
            self._answer(302, {"Location": trick[3:]})
        elif trick == "to-metadata":
            self._answer(307, {"Location": "http://169.254.169.254/latest/meta-data"})
        elif trick == "loop":
            self._answer(302, {"Location": self.path + "x"})
        elif trick == "error":
            self._answer(500, {"Content-Length": "6"}, b"canary")
        elif trick == "no-length":
            self._answer(200, {}, data)
        elif trick == "chunked":
            self._answer(200, {"Transfer-Encoding": "chunked", "Content-Length": "5"}, b"5\r\nhello\r\n0\r\n\r\n")
        elif trick == "huge":
            self._answer(200, {"Content-Length": str(10 << 40)}, data)
        elif trick == "gzip":
            self._answer(200, {"Content-Length": str(len(data)), "Content-Encoding": "gzip"}, data)
        elif trick == "stops":
            self._answer(200, {"Content-Length": str(len(data))}, data[: len(data) * 99 // 100])
        else:
            self._answer(200, {"Content-Length": str(len(data))}, data)

    def _answer(self, status: int, headers: dict[str, str], data: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):  # nobody reads it to the end
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(data: bytes) -> Iterator[Server]:
    with Server(data) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
