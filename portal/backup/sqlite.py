"""SQLite, by its online backup. What is restored is made whole in a file beside the old one, then renamed."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from portal.backup.errors import Refused

_WAIT_SECONDS = 20
# A journal belongs to the file of its name: left beside another one, SQLite would play it back into that.
_COMPANIONS = ("-journal", "-wal", "-shm")


class Sqlite:
    engine = "sqlite"

    def __init__(self, config: dict[str, Any]) -> None:
        self._path = Path(config["NAME"])
        self._staged = self._path.with_name(f"{self._path.name}.restoring")

    def dump(self, target: Path) -> None:
        """In one reading, so that writers of the running portal wait for moments instead of starting it again."""
        source = f"{self._path.resolve().as_uri()}?mode=ro"
        there = sqlite3.connect(source, uri=True, timeout=_WAIT_SECONDS)
        with closing(there), closing(sqlite3.connect(target)) as copy:
            there.backup(copy)
            _require_sound(copy)

    def is_empty(self) -> bool:
        return not self._path.exists() or not self._path.stat().st_size

    def require_idle(self) -> None:
        """Nobody in the middle of a transaction; the portal's own processes are known by other signs."""
        if self.is_empty():
            return
        with closing(sqlite3.connect(self._path, timeout=1, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:
                raise Refused("Another program uses the database. Stop the portal first.") from None

    def stage(self, dump: Path) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.discard()
        os.close(os.open(self._staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        source = sqlite3.connect(f"{dump.resolve().as_uri()}?mode=ro", uri=True)
        with closing(source), closing(sqlite3.connect(self._staged)) as target:
            try:
                source.backup(target)
            except sqlite3.DatabaseError:
                raise Refused("The backup's database is no database of SQLite.") from None
        self.require_sound()

    def point_to_staged(self, config: dict[str, Any]) -> None:
        config["NAME"] = str(self._staged)

    def require_sound(self) -> None:
        with closing(sqlite3.connect(self._staged)) as connection:
            _require_sound(connection)

    def discard(self) -> None:
        for suffix in ("", *_COMPANIONS):
            Path(f"{self._staged}{suffix}").unlink(missing_ok=True)

    def switch(self, stamp: str) -> None:
        """What is staged takes the place of the old, which is kept; where it is the new already, nothing happens."""
        kept = self._path.with_name(f"{self._path.name}.before-restore-{stamp}")
        if self._staged.exists():
            for suffix in ("", *_COMPANIONS):
                old = Path(f"{self._path}{suffix}")
                if old.exists():
                    old.rename(f"{kept}{suffix}")
            self._staged.rename(self._path)


def _require_sound(connection: sqlite3.Connection) -> None:
    try:
        wrong = connection.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok"
        wrong = wrong or connection.execute("PRAGMA foreign_key_check").fetchone() is not None
    except sqlite3.DatabaseError:
        wrong = True
    if wrong:
        raise Refused("The database is damaged: SQLite's own check of it fails.")
