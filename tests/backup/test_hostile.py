"""Archives that somebody has made up or damaged: refused in plain words, and nothing is changed."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import stat
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from portal.backup import archive, manifest
from portal.backup.errors import Refused
from tests.backup.conftest import Installation

Parts = dict[str, bytes]


def parts_of(backup: Path) -> Parts:
    with zipfile.ZipFile(backup) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


def stored(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def with_manifest(parts: Parts, change: Callable[[dict[str, Any]], object]) -> Parts:
    values = json.loads(parts["manifest.json"])
    change(values)
    return {**parts, "manifest.json": json.dumps(values).encode()}


def with_file(parts: Parts, name: str, content: bytes) -> Parts:
    """Listed in the manifest with the right checksum."""
    return with_manifest({**parts, name: content}, lambda values: values["files"].update({name: stored(content)}))


def without(parts: Parts, name: str) -> Parts:
    return {each: content for each, content in parts.items() if each != name}


def written(path: Path, parts: Parts) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in parts.items():
            zipped.writestr(name, content)
    return path


def read(path: Path, directory: Path) -> manifest.Manifest:
    """All that is done with an archive before anything of it is used."""
    with archive.opened(path, directory) as zipped:
        found = archive.manifest_of(zipped)
        archive.extract(zipped, found, {name: directory / str(i) for i, name in enumerate(found.files)})
    return found


NAMES = [
    "../secret-key",
    "/etc/cron.d/x",
    "images/../../x.qcow2",
    "images/.qcow2",
    "images/a/b.qcow2",
    "images/x.qcow2\0",
    "berth.sqlite3",
    "C:\\x",
]
FORGED: dict[str, Callable[[Parts], Parts]] = {
    **{f"name {name!r}": lambda parts, name=name: with_file(parts, name, b"x") for name in NAMES},  # type: ignore[misc]
    "another checksum": lambda parts: {**parts, "secret-key": bytes(len(parts["secret-key"]))},
    "a file that is not listed": lambda parts: {**parts, "images/more.qcow2": b"x"},
    "a file that is missing": lambda parts: without(parts, "first-login.json"),
    "no manifest": lambda parts: without(parts, "manifest.json"),
    "a manifest that is no JSON": lambda parts: {**parts, "manifest.json": b"\xff{"},
    "a manifest of nests": lambda parts: {**parts, "manifest.json": b"[" * 100_000},
    "a manifest that is a list": lambda parts: {**parts, "manifest.json": b"[]"},
    "no files": lambda parts: with_manifest(parts, lambda values: values.pop("files")),
    "files that are a list": lambda parts: with_manifest(parts, lambda values: values.update(files=["database"])),
    "no database": lambda parts: with_manifest(
        without(parts, "database"), lambda values: values["files"].pop("database")
    ),
    "a negative size": lambda parts: with_manifest(
        parts, lambda values: values["files"]["database"].update({"bytes": -1})
    ),
    "a size that is true": lambda parts: with_manifest(
        with_file(parts, "secret-key", b"x"), lambda values: values["files"]["secret-key"].update({"bytes": True})
    ),
    "a version of a megabyte": lambda parts: with_manifest(parts, lambda values: values.update(version="x" * 10**6)),
    "a format that is true": lambda parts: with_manifest(parts, lambda values: values.update(format=True)),
    "another format": lambda parts: with_manifest(parts, lambda values: values.update(format=2)),
    "too many files": lambda parts: with_manifest(
        parts, lambda values: values["files"].update({f"images/{n}.qcow2": stored(b"") for n in range(10_001)})
    ),
}


@pytest.mark.parametrize("forged", list(FORGED))
def test_what_is_forged(forged: str, backup: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "forged.zip", FORGED[forged](parts_of(backup)))
    (tmp_path / "work").mkdir()
    with pytest.raises(Refused):
        read(file, tmp_path / "work")
    assert {path.name for path in tmp_path.iterdir()} == {"forged.zip", "work"}


def test_what_is_genuine(backup: Path, tmp_path: Path) -> None:
    """The same way of reading takes what nobody has changed: each refusal above has its own reason."""
    file = written(tmp_path / "copy.zip", parts_of(backup))
    (tmp_path / "work").mkdir()
    assert "secret-key" in read(file, tmp_path / "work").files


def test_a_name_that_is_there_twice(backup: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "twice.zip", parts_of(backup))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(file, "a") as zipped:
        zipped.writestr("secret-key", b"another")
    with pytest.raises(Refused):
        read(file, tmp_path)


def test_a_link_is_but_a_file(backup: Path, tmp_path: Path) -> None:
    """The archive's word on what kind of file it is counts for nothing."""
    parts = with_file(parts_of(backup), "images/link.qcow2", b"/etc/passwd")
    link = zipfile.ZipInfo("images/link.qcow2")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    file = written(tmp_path / "link.zip", without(parts, link.filename))
    with zipfile.ZipFile(file, "a") as zipped:
        zipped.writestr(link, b"/etc/passwd")
    (tmp_path / "work").mkdir()
    read(file, tmp_path / "work")
    assert not any(path.is_symlink() for path in (tmp_path / "work").iterdir())


def test_a_place_that_is_a_link_is_not_followed(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "0").symlink_to(tmp_path / "victim")
    with pytest.raises(Refused):
        read(backup, tmp_path)
    assert not (tmp_path / "victim").exists()


def test_a_bomb_does_not_go_off(backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is declared must fit on the disk, and no more than that is unpacked."""
    parts = with_file(parts_of(backup), "images/bomb.qcow2", bytes(50_000_000))
    (tmp_path / "work").mkdir()
    bomb = written(tmp_path / "bomb.zip", parts)
    assert bomb.stat().st_size < 1_000_000
    free = archive.shutil.disk_usage(tmp_path)._replace(free=60_000_000)
    with monkeypatch.context() as patched:
        patched.setattr(archive.shutil, "disk_usage", lambda path: free)
        with pytest.raises(Refused, match="are free"):
            read(bomb, tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []
    small = with_manifest(parts, lambda values: values["files"]["images/bomb.qcow2"].update({"bytes": 10}))
    with pytest.raises(Refused):
        read(written(tmp_path / "liar.zip", small), tmp_path / "work")


def test_a_size_that_lies_in_the_zip_too(backup: Path, tmp_path: Path) -> None:
    content = bytes(5_000_000)
    file = written(tmp_path / "lie.zip", with_file(parts_of(backup), "images/x.qcow2", content))
    listed = with_manifest(parts_of(file), lambda values: values["files"]["images/x.qcow2"].update({"bytes": 10}))
    file = written(file, listed)
    data = file.read_bytes().replace(len(content).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    file.write_bytes(data)
    (tmp_path / "work").mkdir()
    with pytest.raises(Refused):
        read(file, tmp_path / "work")
    assert all(path.stat().st_size < len(content) for path in (tmp_path / "work").iterdir())


@pytest.mark.parametrize("part", [0, 0.01, 0.3, 0.9, 0.999])
def test_what_is_cut_off(part: float, backup: Path, tmp_path: Path) -> None:
    content = backup.read_bytes()
    file = tmp_path / "cut.zip"
    file.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(Refused):
        read(file, tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"PK\x03\x04" * 100, bytes(100_000)])
def test_what_is_none(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "none.zip"
    file.write_bytes(content)
    with pytest.raises(Refused, match="This is no backup of Berth"):
        read(file, tmp_path)


@pytest.mark.parametrize("seed", range(40))
def test_a_byte_that_changed_on_the_way(seed: int, backup: Path, tmp_path: Path) -> None:
    """Refused, or what comes out is what went in."""
    content = bytearray(backup.read_bytes())
    content[seed * len(content) // 40] ^= 0xFF
    file = tmp_path / "flipped.zip"
    file.write_bytes(bytes(content))
    (tmp_path / "work").mkdir()
    try:
        found = read(file, tmp_path / "work")
    except Refused:
        return
    there = [archive.digest(tmp_path / "work" / str(i)) for i, _ in enumerate(found.files)]
    assert there == list(found.files.values())


# -- by the command, over an installation that must stay as it is ---------------------------------------------------


def garbage(parts: Parts) -> Parts:
    return with_file(parts, "database", b"SQLite format 3\0" + bytes(range(256)) * 100)


def not_a_portal(parts: Parts) -> Parts:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE vms_vm(x)")
        return with_file(parts, "database", connection.serialize())


def broken_page(parts: Parts) -> Parts:
    database = bytearray(parts["database"])
    database[4096 * 3 : 4096 * 9] = bytes(4096 * 6)
    return with_file(parts, "database", bytes(database))


def edited(script: str) -> Callable[[Parts], Parts]:
    def edit(parts: Parts) -> Parts:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(parts["database"])
            connection.executescript(script)
            return with_file(parts, "database", connection.serialize())

    return edit


TRIGGER = "CREATE TRIGGER helpful AFTER INSERT ON accounts_user BEGIN UPDATE accounts_user SET is_active = 1; END"
UNFIT: dict[str, tuple[Callable[[Parts], Parts], str]] = {
    "traversal": (lambda parts: with_file(parts, "../x", b"x"), "no backup has"),
    "newer format": (lambda parts: with_manifest(parts, lambda values: values.update(format=2)), "newer Berth"),
    "newer schema": (
        lambda parts: with_manifest(parts, lambda values: values["migrations"].append("vms.9999_later")),
        "vms.9999_later",
    ),
    "another database": (
        lambda parts: with_manifest(parts, lambda values: values.update(engine="postgresql")),
        "postgresql",
    ),
    "another instance": (
        lambda parts: with_manifest(parts, lambda values: values.update(instance="other")),
        "BERTH_INSTANCE=other",
    ),
    "a database of garbage": (garbage, "database"),
    "a database with a broken page": (broken_page, "damaged"),
    "a database of something else": (not_a_portal, "none of Berth's"),
    "an empty database": (lambda parts: with_file(parts, "database", b""), "none of Berth's"),
    "a database without a table": (edited("DROP TABLE vms_consoleticket"), "lacks the table vms_consoleticket"),
    "a database without a column": (edited("ALTER TABLE vms_vm DROP COLUMN user_data"), "lacks the table vms_vm"),
    "a database with a trigger": (edited(TRIGGER), "no database of Berth has: helpful"),
    "a database with a view": (edited("CREATE VIEW more AS SELECT 1"), "no database of Berth has: more"),
    "a database of another history": (edited("DELETE FROM django_migrations WHERE app = 'vms'"), "other migrations"),
    "a manifest of another history": (
        lambda parts: with_manifest(parts, lambda values: values["migrations"].remove("vms.0001_initial")),
        "other migrations",
    ),
    "an empty secret key": (lambda parts: with_file(parts, "secret-key", b" \n"), "its secret key is empty"),
    "a secret key that is no text": (
        lambda parts: with_file(parts, "secret-key", b"\xff\xfe"),
        "secret-key is no text",
    ),
    "a first login that is no JSON": (lambda parts: with_file(parts, "first-login.json", b"admin"), "no JSON"),
    "a first login of another shape": (lambda parts: with_file(parts, "first-login.json", b"[]"), "no JSON"),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("unfit", list(UNFIT))
def test_what_does_not_fit(unfit: str, backup: Path, standing: Installation, tmp_path: Path) -> None:
    change, words = UNFIT[unfit]
    file = written(tmp_path / "unfit.zip", change(parts_of(backup)))
    assert words in standing.refuses(file, "--force")


@pytest.mark.timeout(120)
def test_a_newer_schema_that_the_manifest_hides(origin: Installation, standing: Installation, tmp_path: Path) -> None:
    parts = parts_of(origin.back_up(str(tmp_path / "plain.zip")))
    later = tmp_path / "later.sqlite3"
    later.write_bytes(parts["database"])
    with sqlite3.connect(later) as connection:
        connection.execute(
            "INSERT INTO django_migrations(app, name, applied) VALUES ('vms', '9999_later', '2030-01-01')"
        )
    connection.close()
    file = written(tmp_path / "hidden.zip", with_file(parts, "database", later.read_bytes()))
    assert "vms.9999_later" in standing.refuses(file, "--force")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["nowhere.zip", "."])
def test_no_file(name: str, standing: Installation, tmp_path: Path) -> None:
    assert "There is no file" in standing.refuses(tmp_path / name, "--force")
