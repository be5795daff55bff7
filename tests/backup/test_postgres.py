"""Backup and restore on PostgreSQL: beside the old, then in its place, in one transaction each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.backup.conftest import Installation, installed
from tests.backup.test_hostile import parts_of, with_file, written

pytestmark = pytest.mark.timeout(400)
ROWS = """SELECT table_name, (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %I.%I',
    table_schema, table_name), false, true, '')))[1]::text::int FROM information_schema.tables
    WHERE table_schema = 'public' AND table_name <> 'django_session' ORDER BY 1"""
SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'"


def ask(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


@pytest.fixture
def another_database(postgres: str, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """The DATABASE_URL of a new database on the same server."""

    def make(name: str) -> str:
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name}".encode())
            connection.execute(f"CREATE DATABASE {name}".encode())
        return postgres.replace("/berth?", f"/{name}?")

    return make


def test_a_round_trip_and_the_ways_in_which_it_is_refused(
    another_database: Callable[[str], str], backup: Path, tmp_path: Path
) -> None:
    origin = installed(Installation(tmp_path / "origin", another_database("origin")))
    file = origin.back_up(str(tmp_path / "postgres.zip"))
    new = Installation(tmp_path / "new", another_database("new"))
    new.data.mkdir()

    assert "DATABASE_URL means postgresql" in new.refuses(backup), "SQLite's dump is for SQLite"
    parts = parts_of(file)
    middle = len(parts["database"]) // 2
    for damaged in (parts["database"][:middle], b"PGDMP" + bytes(1000)):
        assert "failed" in new.refuses(written(tmp_path / "x.zip", with_file(parts, "database", damaged)))
        assert ask(new.database_url, SCHEMAS) == [("public",)]
        assert ask(new.database_url, ROWS) == []
    with psycopg.connect(new.database_url):
        assert "1 other connections" in new.refuses(file)

    done = new.restore(file)
    assert done.returncode == 0, done.stderr
    assert ask(new.database_url, ROWS) == ask(origin.database_url, ROWS)
    assert ask(new.database_url, SCHEMAS) == [("public",)]
    assert (new.data / "secret-key").read_bytes() == (origin.data / "secret-key").read_bytes()
    new.manage("migrate", "--check")
    with pytest.raises(psycopg.errors.IntegrityError):  # the log's triggers came along
        ask(new.database_url, "DELETE FROM events_event RETURNING id")

    assert "a database" in new.refuses(file)
    before = ask(new.database_url, ROWS)
    assert "failed" in new.refuses(
        written(tmp_path / "x.zip", with_file(parts, "database", parts["database"][:middle])), "--force"
    )
    assert ask(new.database_url, ROWS) == before
    assert new.restore(file, "--force").returncode == 0
    kept = sorted(str(name) for (name,) in ask(new.database_url, SCHEMAS))
    assert kept[1:] == ["public"]
    assert kept[0].startswith("before_restore_")
    assert ask(new.database_url, ROWS.replace("'public'", f"'{kept[0]}'")) == before
    new.manage("seed")  # it can be worked with


DIE = """
import os, sys
from pathlib import Path
from portal.backup import postgres, restore
switch = postgres.Postgres.switch
def die(self, stamp):
    if sys.argv[1] == "after":
        switch(self, stamp)
    os._exit(9)
postgres.Postgres.switch = die
os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
restore.restore(Path(sys.argv[2]), force=True)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_around_the_switch_the_next_one_finishes(
    moment: str, another_database: Callable[[str], str], tmp_path: Path
) -> None:
    origin = installed(Installation(tmp_path / "origin", another_database("origin")))
    file = origin.back_up(str(tmp_path / "postgres.zip"))
    new = Installation(tmp_path / "new", another_database("new"))
    assert new.run("-c", DIE, moment, str(file)).returncode == 9
    done = new.run("-m", "portal.backup", "finish")
    assert "finished now" in done.stdout, done.stderr
    assert ask(new.database_url, ROWS) == ask(origin.database_url, ROWS)
    assert ask(new.database_url, SCHEMAS) == [("public",)]
