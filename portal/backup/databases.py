"""The database that this installation is set to use."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from portal.backup.postgres import Postgres
from portal.backup.sqlite import Sqlite
from portal.env import database as configuration


class Database(Protocol):
    """All may raise Refused. `stage` to `switch`: what is restored lies beside the old until it is whole."""

    engine: str

    def dump(self, target: Path) -> None:
        """One consistent moment of it, while others go on writing; `target` does not exist."""

    def is_empty(self) -> bool: ...

    def require_idle(self) -> None: ...

    def stage(self, dump: Path) -> None: ...

    def point_to_staged(self, config: dict[str, Any]) -> None:
        """Change the settings of Django's connection, which has not connected yet."""

    def require_sound(self) -> None:
        """Of what is staged."""

    def discard(self) -> None:
        """What is staged, if anything is."""

    def switch(self, stamp: str) -> None:
        """What is staged takes the place of the old, which is kept under a name with `stamp`. Once, however often."""


def database() -> Database:
    config = configuration()
    return Sqlite(config) if config["ENGINE"] == "django.db.backends.sqlite3" else Postgres(config)
