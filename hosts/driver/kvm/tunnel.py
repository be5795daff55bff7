"""Sockets of a host that is reached by ssh."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from hosts.driver import errors

# What libvirt is told to call for a host with a key of its own.
PROGRAM = Path(__file__).with_name("ssh")
OPEN_SECONDS = 15.0


def reaches(uri: str) -> bool:
    return urlsplit(uri).scheme == "qemu+ssh"


def connect(uri: str, path: str) -> socket.socket:
    """A connection to the unix socket `path` of the host with that libvirt URI.

    ssh ends by itself with the connection that goes through it, for what it runs on the host is over soon. Raises
    Unreachable.
    """
    with tempfile.TemporaryDirectory(prefix="berth-") as directory:
        here = Path(directory) / "socket"
        process = subprocess.Popen(  # noqa: S603  no shell here; the URI was checked when the host was added
            _command(uri, f"{here}:{path}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        threading.Thread(target=process.wait, name="ssh-wait", daemon=True).start()
        try:
            return _connected(here, process)
        except errors.Unreachable:
            process.kill()
            raise


def _command(uri: str, forwarded: str) -> list[str]:
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    return [
        options.get("command", "ssh"),
        *("-T", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-L", forwarded),
        *(("-i", options["keyfile"]) if "keyfile" in options else ()),
        *(("-p", str(parts.port)) if parts.port else ()),
        *(("-l", parts.username) if parts.username else ()),
        *("--", parts.hostname or "", "sleep", str(int(OPEN_SECONDS))),
    ]


def _connected(here: Path, process: subprocess.Popen[bytes]) -> socket.socket:
    """As soon as ssh listens there."""
    until = time.monotonic() + OPEN_SECONDS
    while time.monotonic() < until and process.poll() is None:
        found = socket.socket(socket.AF_UNIX)
        try:
            found.connect(str(here))
        except (FileNotFoundError, ConnectionRefusedError):
            found.close()
            time.sleep(0.05)
        else:
            return found
    raise errors.Unreachable("ssh did not reach the host")
