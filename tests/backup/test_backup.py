"""Backup and restore on SQLite: what a backup holds, and that it comes back whole or not at all."""

from __future__ import annotations

import json
import sqlite3
import stat
import tomllib
import zipfile
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest

from portal.backup import places
from portal.backup.errors import Refused
from portal.core import presence
from portal.version import VERSION
from tests.backup.conftest import PASSPHRASE, Installation
from tests.stack import ROOT

pytestmark = pytest.mark.timeout(400)


def rows(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        lines = list(connection.iterdump())
    settled = [  # see test_settle
        'INSERT INTO "operations_operation"',
        'INSERT INTO "hosts_host"',
        'INSERT INTO "events_feedhead"',
    ]
    return sorted(line for line in lines if not line.startswith(tuple(settled)))


def operations(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM operations_operation").fetchone()[0])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_version_is_that_of_the_project() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_what_a_backup_holds(origin: Installation, backup: Path) -> None:
    assert mode(backup) == 0o600
    with zipfile.ZipFile(backup) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert archive.read("secret-key").decode() == (origin.data / "secret-key").read_text()
    assert set(manifest["files"]) == {"database", "secret-key", "first-login.json", "images/image-0.qcow2"}
    assert (manifest["engine"], manifest["instance"], manifest["version"]) == ("sqlite", "berth", VERSION)
    assert "vms.0001_initial" in manifest["migrations"]


def test_by_default_it_lies_under_the_data_and_leaves_images_out(origin: Installation) -> None:
    file = origin.back_up()
    try:
        assert file.parent == origin.data / "backups"
        assert (mode(file.parent), mode(file)) == (0o700, 0o600)
        assert "images/image-0.qcow2" not in zipfile.ZipFile(file).namelist()
        assert list(file.parent.iterdir()) == [file], "nothing is left half made"
    finally:
        file.unlink()


def test_a_file_that_is_there_is_not_replaced(origin: Installation, tmp_path: Path) -> None:
    there = tmp_path / "there.zip"
    there.write_text("mine")
    done = origin.run("-m", "portal.backup", "create", str(there))
    assert (done.returncode, done.stdout) == (1, "")
    assert "exists already" in done.stderr
    assert there.read_text() == "mine"


def test_nothing_is_no_backup(empty: Installation) -> None:
    empty.data.mkdir()
    done = empty.run("-m", "portal.backup", "create")
    assert "nothing to back up" in done.stderr
    assert empty.content() == {}


def test_a_round_trip_onto_nothing(origin: Installation, backup: Path, empty: Installation) -> None:
    done = empty.restore(backup)
    assert done.returncode == 0, done.stderr
    assert rows(empty.database) == rows(origin.database)
    assert operations(empty.database) == operations(origin.database) > 0
    for name in ("secret-key", "first-login.json", "images/image-0.qcow2"):
        assert (empty.data / name).read_bytes() == (origin.data / name).read_bytes()
    for name in ("secret-key", "first-login.json", "berth.sqlite3"):
        assert mode(empty.data / name) == 0o600
    assert set(empty.content()) == {"secret-key", "first-login.json", "berth.sqlite3", "images/image-0.qcow2"}


def test_a_sealed_round_trip(origin: Installation, empty: Installation, tmp_path: Path) -> None:
    file = origin.back_up(str(tmp_path / "sealed.zip"), "--encrypt", BERTH_BACKUP_PASSPHRASE=PASSPHRASE)
    content = file.read_bytes()
    assert (origin.data / "secret-key").read_bytes() not in content
    assert b"first-login" not in content
    assert "passphrase is wrong" in empty.refuses(file, BERTH_BACKUP_PASSPHRASE="another one")
    assert "BERTH_BACKUP_PASSPHRASE" in empty.refuses(file), "without a terminal nobody can be asked"
    middle = len(content) // 2
    for damaged in (content[:middle] + b"\0\1\2\3" + content[middle + 4 :], content[:middle] + content[middle + 1 :]):
        file.write_bytes(damaged)
        assert "damaged" in empty.refuses(file, BERTH_BACKUP_PASSPHRASE=PASSPHRASE)
    file.write_bytes(content)
    assert empty.restore(file, BERTH_BACKUP_PASSPHRASE=PASSPHRASE).returncode == 0
    assert rows(empty.database) == rows(origin.database)


def test_a_short_passphrase_seals_nothing(origin: Installation, tmp_path: Path) -> None:
    done = origin.run(
        "-m", "portal.backup", "create", str(tmp_path / "x"), "--encrypt", BERTH_BACKUP_PASSPHRASE="short"
    )
    assert "too short" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_replaced_by_force_only_and_kept(origin: Installation, standing: Installation) -> None:
    old = {name: (standing.data / name).read_bytes() for name in ("berth.sqlite3", "secret-key", "first-login.json")}
    backup = origin.back_up(str(standing.data.parent / "other.zip"))
    assert "installation already" in standing.refuses(backup)
    assert standing.restore(backup, "--force").returncode == 0
    assert rows(standing.database) == rows(origin.database)
    for name, content in old.items():
        (kept,) = standing.data.glob(f"{name}.before-restore-*")
        assert kept.read_bytes() == content
        assert mode(kept) & 0o077 == 0 or name == "berth.sqlite3"


def test_settings_of_the_old_machine_are_put_beside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=postgres://in.use/elsewhere\n")
    monkeypatch.setattr(places, "BASE_DIR", tmp_path)
    assert places.to_back_up(with_images=False)["settings.env"] == tmp_path / ".env"
    found = places.place("settings.env")
    assert found is not None
    assert found.name == "restored.env"


def test_while_others_write_a_backup_is_of_one_moment(standing: Installation, tmp_path: Path) -> None:
    """Two tables that are always changed together are never seen apart."""
    with closing(sqlite3.connect(standing.database, timeout=30)) as connection:
        connection.executescript("CREATE TABLE one(n); CREATE TABLE two(n)")
    stop = Event()

    def write() -> None:
        with closing(sqlite3.connect(standing.database, timeout=30, isolation_level=None)) as connection:
            while not stop.wait(0.005):
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO one VALUES (randomblob(5000))")
                connection.execute("INSERT INTO two SELECT n FROM one ORDER BY rowid DESC LIMIT 1")
                connection.execute("COMMIT")

    writer = Thread(target=write)
    writer.start()
    try:
        file = standing.back_up(str(tmp_path / "moment.zip"))
    finally:
        stop.set()
        writer.join()
    other = Installation(tmp_path / "other")
    assert other.restore(file).returncode == 0
    with closing(sqlite3.connect(other.database)) as connection:
        (ones,), (twos,) = (connection.execute(f"SELECT count(*) FROM {name}").fetchone() for name in ("one", "two"))
    assert ones == twos > 0


def test_a_portal_that_runs_is_left_alone(backup: Path, empty: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    empty.data.mkdir()
    monkeypatch.setattr(places, "DATA_DIR", empty.data)
    with places.stopped_portal():  # the lock that its supervisor holds
        assert "portal runs" in empty.refuses(backup, "--force")
        with pytest.raises(Refused), places.stopped_portal():
            pass


def test_a_part_that_lives_without_its_supervisor_is_left_alone(
    backup: Path, empty: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty.data.mkdir()
    monkeypatch.setattr(presence, "DATA_DIR", empty.data)
    monkeypatch.setattr(presence, "LOCK", empty.data / presence.LOCK.name)
    presence.hold()
    assert "portal runs" in empty.refuses(backup, "--force")
    presence._held.pop().close()
    assert empty.restore(backup, "--force").returncode == 0


def test_an_older_one_is_migrated(empty: Installation, tmp_path: Path) -> None:
    old = Installation(tmp_path / "old")
    old.data.mkdir()
    old.manage("migrate", "-v0", "operations", "0001_initial")
    assert empty.restore(old.back_up(str(tmp_path / "old.zip"))).returncode == 0
    empty.manage("migrate", "--check")


DIE = """
import os, sys
from pathlib import Path
from portal.backup import restore
calls = 0
def rename(self, target, kept=Path.rename):
    global calls
    if restore.places.MARKER.exists():
        calls += 1
        if calls > int(sys.argv[1]):
            os._exit(9)
    return kept(self, target)
Path.rename = rename
os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
restore.restore(Path(sys.argv[2]), force=True)
"""


@pytest.mark.parametrize("renames", [0, 3, 6])
def test_killed_in_the_exchange_the_next_one_finishes(
    renames: int, origin: Installation, backup: Path, standing: Installation
) -> None:
    assert standing.run("-c", DIE, str(renames), str(backup)).returncode == 9
    done = standing.run("-m", "portal.backup", "finish")
    assert (done.returncode, "finished now" in done.stdout) == (0, True), done.stderr
    assert rows(standing.database) == rows(origin.database)
    assert (standing.data / "secret-key").read_bytes() == (origin.data / "secret-key").read_bytes()
    assert not [name for name in standing.content() if "restoring" in name or name.startswith("restore.")]
    assert standing.run("-m", "portal.backup", "finish").stdout == ""


def test_killed_before_it_nothing_has_changed(backup: Path, standing: Installation) -> None:
    before = standing.content()
    script = DIE.replace("places.MARKER.exists()", "places.STAGING.exists()")
    assert standing.run("-c", script, "0", str(backup)).returncode == 9
    after = standing.content()
    assert {name: after[name] for name in before} == before
    assert standing.restore(backup, "--force").returncode == 0, "what the dead left is swept up"
    assert not [name for name in standing.content() if "restoring" in name or name.startswith("restore.")]


def test_the_old_journal_does_not_reach_the_new_database(
    origin: Installation, backup: Path, standing: Installation
) -> None:
    """Left in place, SQLite would play it back into the file that has the old one's name."""
    with closing(sqlite3.connect(standing.database)) as connection:
        connection.executescript("PRAGMA cache_size=1; BEGIN; CREATE TABLE half AS SELECT * FROM django_migrations")
        journal = Path(f"{standing.database}-journal")
        hot, torn = journal.read_bytes(), standing.database.read_bytes()
    standing.database.write_bytes(torn)
    journal.write_bytes(hot)
    assert standing.restore(backup, "--force").returncode == 0
    assert not journal.exists()
    assert rows(standing.database) == rows(origin.database)
