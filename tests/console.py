"""A tiny guest's serial console, as a person at the keyboard has it."""

from __future__ import annotations

import socket
import time

PROMPT = "$ "
END_OF_FILE = b"\x04"


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

    def become_root(self, seconds: float = 300) -> None:
        """From wherever it stands: still booting, at a login prompt that nobody saw, or at somebody's shell.

        Commands go to a shell that has no terminal, for one that has repeats what is typed, in lines of its own.
        """
        until = time.monotonic() + seconds
        while not self._asks_for_login():
            assert time.monotonic() < until, f"nobody asks for a login:\n{self._said}"
        self._connection.sendall(b"tiny\n")
        self.wait_for(PROMPT, 60)
        self._connection.sendall(b"su -\n")
        self.wait_for("# ", 60)
        # what arrives before the shell has given the terminal away is taken by its line editor
        self._connection.sendall(b"stty -echo; echo terminal''-is-free; cat | sh 2>&1\n")
        self.wait_for("terminal-is-free", 60)

    def _asks_for_login(self) -> bool:
        """After a key press; a shell that somebody left is ended."""
        self._connection.sendall(b"\n")
        try:
            self.wait_for("login: ", 5)
        except AssertionError:
            self._connection.sendall(END_OF_FILE)
            return False
        return True

    def log_out(self) -> None:
        """So that whoever comes next finds a login prompt."""
        self._connection.sendall(END_OF_FILE)
        self.wait_for("# ", 60)
        self._connection.sendall(b"exit\n")
        self.wait_for(PROMPT, 60)
        self._connection.sendall(b"exit\n")
        self.wait_for("login: ", 60)

    def command(self, line: str, seconds: float = 120) -> str:
        """The output of one shell command."""
        self._connection.sendall(f"{line}\necho en''d-of-output\n".encode())
        said = self.wait_for("end-of-output", seconds).removesuffix("end-of-output")
        return said.replace("\r", "").strip()
