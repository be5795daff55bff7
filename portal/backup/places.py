"""Where the files of an installation lie, and their names in a backup."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portal.backup.errors import Refused
from portal.core import presence
from portal.env import BASE_DIR, DATA_DIR

DATABASE, SECRET_KEY, FIRST_LOGIN, SETTINGS = "database", "secret-key", "first-login.json", "settings.env"
IMAGE_DIR = DATA_DIR / "images"
STAGING = DATA_DIR / "restore.partial"
MARKER = DATA_DIR / "restore.unfinished"
_IMAGE = re.compile(r"images/([a-z0-9][a-z0-9._-]{0,79}\.qcow2)")
_FILES = {
    SECRET_KEY: DATA_DIR / "secret-key",
    FIRST_LOGIN: DATA_DIR / "first-login.json",
    # Settings of another machine may name a database that is in use there: they are put beside, never in place.
    SETTINGS: DATA_DIR / "restored.env",
}


def place(name: str) -> Path | None:
    """Where a file of a backup goes; None for a name that no backup has. The database has its own way."""
    if image := _IMAGE.fullmatch(name):
        return IMAGE_DIR / image[1]
    return _FILES.get(name)


def to_back_up(with_images: bool) -> dict[str, Path]:
    """The files that there are, by their names in the backup; the secret key and the database come from elsewhere."""
    files = {FIRST_LOGIN: _FILES[FIRST_LOGIN], SETTINGS: BASE_DIR / ".env"}
    if with_images:
        found = {f"images/{path.name}": path for path in sorted(IMAGE_DIR.glob("*.qcow2"))}
        files |= {name: path for name, path in found.items() if place(name) is not None}
    return {name: path for name, path in files.items() if path.is_file()}


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """One backup or restore of an installation; the lock goes with the process, however that ends."""
    with (DATA_DIR / "backup.lock").open("a") as file:
        _lock(file.fileno(), "Another backup or restore runs.")
        yield


@contextmanager
def stopped_portal() -> Iterator[None]:
    """Refused while `./run` has the portal up (deploy/supervisor.py has the first lock), or any part of it lives,
    whatever has started that; none can start meanwhile."""
    with (DATA_DIR / "supervisor.pid").open("a") as supervisor, (DATA_DIR / presence.LOCK.name).open("a") as parts:
        for file in (supervisor, parts):
            _lock(file.fileno(), "The portal runs. Stop it first: ./run stop")
        yield


def _lock(descriptor: int, refusal: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Refused(refusal) from None
