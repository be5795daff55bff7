"""That a process of the portal lives on this data directory: a restore must not pull it away from under one."""

from __future__ import annotations

import fcntl
from typing import IO

from portal.env import DATA_DIR

LOCK = DATA_DIR / "parts.lock"
_held: list[IO[str]] = []


def hold() -> None:
    """For the rest of the process's life, however that ends. Waits while a restore is under way."""
    DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = LOCK.open("a")
    fcntl.flock(file, fcntl.LOCK_SH)
    _held.append(file)
