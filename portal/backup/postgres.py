"""PostgreSQL, by its own programs. What is restored is made whole in a schema of its own, then replaces the old one.

Everything is in the schema `public`, in which dumps are; so the old one steps aside for the time of one transaction.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from portal.backup.errors import Refused

STAGED, _ASIDE = "restore_staged", "restore_aside"
_BEFORE = f"DROP SCHEMA IF EXISTS {STAGED} CASCADE; ALTER SCHEMA public RENAME TO {_ASIDE}; CREATE SCHEMA public"
_AFTER = f"ALTER SCHEMA public RENAME TO {STAGED}; ALTER SCHEMA {_ASIDE} RENAME TO public"
_OBJECTS = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
_OTHERS = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""
_IS_STAGED = "SELECT count(*) FROM pg_namespace WHERE nspname = 'restore_staged'"


class Postgres:
    engine = "postgresql"

    def __init__(self, config: dict[str, Any]) -> None:
        own = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
        given = {name: config.get(key) for name, key in own.items()}
        parameters = dict(config.get("OPTIONS", {})) | {name: value for name, value in given.items() if value}
        known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults() if option.envvar}
        self._parameters = {name: value for name, value in parameters.items() if name in known}

    def dump(self, target: Path) -> None:
        options = ["--format=custom", "--schema=public", "--no-owner", "--no-privileges", f"--file={target}"]
        self._run("pg_dump", *options)

    def is_empty(self) -> bool:
        return not self._number(_OBJECTS)

    def require_idle(self) -> None:
        if others := self._number(_OTHERS):
            raise Refused(f"{others} other connections use the database. Stop the portal first.")

    def stage(self, dump: Path) -> None:
        """One transaction, after which the staged schema is there beside the old one, or nothing is changed."""
        script = dump.with_suffix(".sql")
        self._run("pg_restore", "--schema=public", "--no-owner", "--no-privileges", f"--file={script}", str(dump))
        strict = ["--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1", "--single-transaction"]
        self._run("psql", *strict, f"--command={_BEFORE}", f"--file={script}", f"--command={_AFTER}")
        script.unlink()

    def point_to_staged(self, config: dict[str, Any]) -> None:
        """Django's settings of this process are to mean what is staged."""
        options = {name: value for name, value in config["OPTIONS"].items() if name != "pool"}
        config["OPTIONS"] = {**options, "options": f"-c search_path={STAGED}"}

    def require_sound(self) -> None:
        """pg_restore has made every constraint anew."""

    def discard(self) -> None:
        self._change(lambda cursor: cursor.execute(f"DROP SCHEMA IF EXISTS {STAGED} CASCADE"))

    def switch(self, stamp: str) -> None:
        """What is staged takes the place of the old, which is kept; where it is the new already, nothing happens."""
        kept = f"before_restore_{re.sub(r'[^0-9a-z]', '_', stamp.lower())}"

        def rename(cursor: psycopg.Cursor[Any]) -> None:
            if not self._number(_IS_STAGED):
                return
            old = "DROP SCHEMA public" if self.is_empty() else f"ALTER SCHEMA public RENAME TO {kept}"
            cursor.execute(f"{old}; ALTER SCHEMA {STAGED} RENAME TO public".encode())

        self._change(rename)

    # -- its programs --------------------------------------------------------------------------------------------

    def _run(self, program: str, *arguments: str) -> None:
        """The password goes by the environment: arguments are for all to see."""
        names = {option.keyword: option.envvar for option in psycopg.pq.Conninfo.get_defaults() if option.envvar}
        own = {names[key.encode()].decode(): str(value) for key, value in self._parameters.items()}
        command = [_program(program, self._major), *arguments]
        done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise Refused(f"{program} failed: {done.stderr.strip()[-1000:]}")

    @cached_property
    def _major(self) -> int:
        with self._connected() as connection:
            return connection.info.server_version // 10_000

    def _number(self, query: str) -> int:
        with self._connected() as connection:
            row = connection.execute(query.encode()).fetchone()
            return int(row[0]) if row else 0

    def _change(self, work: Callable[[psycopg.Cursor[Any]], object]) -> None:
        try:
            with self._connected() as connection, connection.cursor() as cursor:
                work(cursor)
        except psycopg.Error as error:
            raise Refused(f"The database refused: {error}") from None

    def _connected(self) -> psycopg.Connection[Any]:
        try:
            return psycopg.connect(**self._parameters)
        except psycopg.OperationalError as error:
            raise Refused(f"The database does not answer: {error}") from None


def _program(name: str, server: int) -> str:
    """That of the server's version, or else of the next newer one: an older pg_dump refuses a newer server."""
    found = {}
    for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}"):
        found[int(path.parts[4])] = str(path)
    if fitting := [version for version in sorted(found) if version >= server]:
        return found[fitting[0]]
    if not found and (path_found := shutil.which(name)):
        return path_found
    raise Refused(f"There is no {name} for PostgreSQL {server} here. Install postgresql-client-{server}.")
