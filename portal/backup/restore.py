"""Restoring a backup: everything is made whole beside the old and verified, then takes its place.

From the marker on there is no way back: whoever comes next (`./run`, another restore) finishes the exchange.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path
from zipfile import ZipFile

import django

from portal.backup import archive, contents, places
from portal.backup.databases import Database, database
from portal.backup.errors import Refused
from portal.backup.manifest import Manifest
from portal.env import DATA_DIR

_STAGED_SUFFIX = ".restoring"


def restore(path: Path, *, force: bool) -> Manifest:
    """What was restored. With `force` an installation that is there is replaced, and kept beside."""
    DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    with places.one_at_a_time(), places.stopped_portal():
        _finish()
        target = database()
        target.require_idle()
        if not force:
            _require_empty(target)
        try:
            return _restore(path, target)
        finally:
            if not places.MARKER.exists():
                _discard(target)


def finish() -> bool:
    """End the exchange in which a restore was interrupted, if there is one; whether there was."""
    if not places.MARKER.exists():
        return False
    with places.one_at_a_time(), places.stopped_portal():
        return _finish()


# -- whether it may ------------------------------------------------------------------------------------------------


def _require_empty(target: Database) -> None:
    there = [name for name in (places.SECRET_KEY, places.FIRST_LOGIN) if _place(name).exists()]
    if not target.is_empty():
        there.append("a database")
    if there:
        words = f"There is an installation already ({', '.join(there)}) in {DATA_DIR}."
        raise Refused(f"{words} With --force it is replaced, and kept beside.")


def _require_fit(manifest: Manifest, target: Database) -> None:
    from django.conf import settings

    if manifest.engine != target.engine:
        raise Refused(f"The backup is of {manifest.engine}, and DATABASE_URL means {target.engine}.")
    if manifest.instance != settings.INSTANCE:
        words = f"The backup is of the instance {manifest.instance}, and this is {settings.INSTANCE}."
        raise Refused(f"{words} Its machines bear that name: set BERTH_INSTANCE={manifest.instance}.")
    _require_known(manifest.migrations, manifest.version)


def _require_known(migrations: list[str], version: str) -> None:
    from django.db.migrations.loader import MigrationLoader

    there = MigrationLoader(None).disk_migrations
    known = {*there, *(replaced for migration in there.values() for replaced in migration.replaces)}
    if newer := sorted(set(migrations) - {f"{app}.{name}" for app, name in known}):
        words = f"This backup was made by a newer Berth ({version}), whose database this one does not know"
        raise Refused(f"{words} ({', '.join(newer[:5])}). Upgrade Berth first, then restore.")


# -- beside the old ------------------------------------------------------------------------------------------------


def _restore(path: Path, target: Database) -> Manifest:
    _discard(target)
    places.STAGING.mkdir(mode=0o700)
    if not path.is_file():
        raise Refused(f"There is no file {path}.")
    _set_up_django()
    with archive.opened(path, places.STAGING) as zipped:
        manifest = archive.manifest_of(zipped)
        _require_fit(manifest, target)
        _extract(zipped, manifest)
    target.stage(places.STAGING / places.DATABASE)
    _bring_up_to_date(target, manifest)
    _write_marker(manifest)
    _finish()
    return manifest


def _set_up_django() -> None:
    """With a key for this process alone, or settings would leave one in the data directory."""
    os.environ.setdefault("BERTH_SECRET_KEY", secrets.token_urlsafe())
    django.setup()


def _extract(zipped: ZipFile, manifest: Manifest) -> None:
    """Beside where they go; an image that is there already stays."""
    places.IMAGE_DIR.mkdir(parents=True, exist_ok=True)
    targets = {places.DATABASE: places.STAGING / places.DATABASE}
    for name, stored in manifest.files.items():
        if name != places.DATABASE and not _is_there(_place(name), stored):
            targets[name] = _staged(_place(name))
    archive.extract(zipped, manifest, targets)
    contents.require_files(targets)


def _is_there(path: Path, stored: object) -> bool:
    return path.is_file() and archive.digest(path) == stored


def _bring_up_to_date(target: Database, manifest: Manifest) -> None:
    from django.core.management import call_command
    from django.db import DatabaseError, connection

    from portal.backup.create import applied_migrations
    from portal.backup.settle import settle

    target.point_to_staged(connection.settings_dict)
    try:
        applied = applied_migrations()
        _require_known(applied, manifest.version)
        contents.require_history(applied, manifest.migrations)
        call_command("migrate", interactive=False, verbosity=0)
        contents.require_schema()
        settle()
    except DatabaseError as error:
        raise Refused(f"The backup's database cannot be brought up to date: {error}") from error
    finally:
        connection.close()
    target.require_sound()


def _discard(target: Database) -> None:
    target.discard()
    for directory in (DATA_DIR, places.IMAGE_DIR):
        for left in directory.glob(f"*{_STAGED_SUFFIX}"):
            left.unlink()
    shutil.rmtree(places.STAGING, ignore_errors=True)


# -- the exchange --------------------------------------------------------------------------------------------------


def _write_marker(manifest: Manifest) -> None:
    names = [name for name in manifest.files if name != places.DATABASE]
    plan = {"stamp": f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}", "files": names}
    partial = places.MARKER.with_name(f"{places.MARKER.name}.partial")
    with partial.open("w") as file:
        json.dump(plan, file)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(places.MARKER)


def _finish() -> bool:
    """Each exchange looks first whether it was made, so that this may be killed and repeated at any point."""
    if not places.MARKER.exists():
        return False
    plan = json.loads(places.MARKER.read_text())
    for name in plan["files"]:
        _exchange(_place(name), plan["stamp"])
    database().switch(plan["stamp"])
    shutil.rmtree(places.STAGING, ignore_errors=True)
    places.MARKER.unlink()
    return True


def _exchange(path: Path, stamp: str) -> None:
    staged = _staged(path)
    if staged.exists():
        if path.exists():
            path.rename(path.with_name(f"{path.name}.before-restore-{stamp}"))
        staged.rename(path)


def _staged(path: Path) -> Path:
    return path.with_name(f"{path.name}{_STAGED_SUFFIX}")


def _place(name: str) -> Path:
    found = places.place(name)
    assert found is not None, name  # the manifest was checked for it
    return found
