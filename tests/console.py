"""A tiny guest's serial console, as a person at the keyboard has it."""

from __future__ import annotations

import socket
import time

PROMPT = "$ "


class Console:
    """Over a connected socket; closed with it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._said = ""

    def wait_for(self, words: str, seconds: float = 60) -> str:
        """What was said up to and with `words`, which must come after what was read before."""
        until = time.monotonic() + seconds
        while words not in self._said:
            self._connection.settimeout(max(until - time.monotonic(), 0.01))
            try:
                data = self._connection.recv(4096)
            except TimeoutError:
                raise AssertionError(f"no {words!r} in {seconds} s; the console said:\n{self._said}") from None
            assert data, f"the console ended before {words!r}:\n{self._said}"
            self._said += data.decode(errors="replace")
        before, _, self._said = self._said.partition(words)
        return before + words

    def become_root(self, seconds: float = 90) -> None:
        """From wherever it stands: a login prompt may have been printed before anybody looked."""
        until = time.monotonic() + seconds
        while True:
            self._connection.sendall(b"\n")
            try:
                self.wait_for("login: ", 3)
                break
            except AssertionError:
                if time.monotonic() > until:
                    raise
        self._connection.sendall(b"tiny\n")
        self.wait_for(PROMPT, 20)
        self._connection.sendall(b"su -\n")
        self.wait_for("# ", 20)

    def log_out(self) -> None:
        """So that whoever comes next finds a login prompt."""
        self._connection.sendall(b"exit\nexit\n")
        self.wait_for("login: ", 20)

    def command(self, line: str, seconds: float = 30) -> str:
        """The output of one shell command, without its echo."""
        self._connection.sendall(f"{line}; echo en''d-of-output\n".encode())
        said = self.wait_for("end-of-output", seconds).removesuffix("end-of-output")
        return said.rpartition("en''d-of-output")[2].replace("\r", "").strip()
