"""A tiny guest's serial console, as a person at the keyboard has it."""

from __future__ import annotations

import re
import socket
import time

PROMPT = "$ "
# the end of a typed line as the guest's line editor repeats it, which breaks it wherever the line is full
_TYPED = re.compile(r"\s*".join(re.escape(character) for character in "en''d-of-output"))


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

    def become_root(self, seconds: float = 240) -> None:
        """From wherever it stands: still booting, at a login prompt that nobody saw, or at somebody's shell."""
        until = time.monotonic() + seconds
        while not self._is_at("login: "):
            assert time.monotonic() < until, f"nobody asks for a login:\n{self._said}"
        self._connection.sendall(b"tiny\n")
        self.wait_for(PROMPT, 30)
        self._connection.sendall(b"su -\n")
        self.wait_for("# ", 30)

    def _is_at(self, prompt: str) -> bool:
        """Whether it is after a key press; a shell that somebody left is ended."""
        self._connection.sendall(b"\n")
        try:
            self.wait_for(prompt, 3)
        except AssertionError:
            if self._said.rstrip().endswith(("#", "$", "[6n")):
                self._connection.sendall(b"exit\n")
            self._said = ""
            return False
        return True

    def log_out(self) -> None:
        """So that whoever comes next finds a login prompt."""
        self._connection.sendall(b"exit\nexit\n")
        self.wait_for("login: ", 20)

    def command(self, line: str, seconds: float = 30) -> str:
        """The output of one shell command, without its echo."""
        self._connection.sendall(f"{line}; echo en''d-of-output\n".encode())
        said = self.wait_for("end-of-output", seconds).removesuffix("end-of-output")
        return _TYPED.split(said)[-1].replace("\r", "").strip()
