"""Making a backup, while the portal runs."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import django
from django.conf import settings

from portal.backup import archive, places, sealing
from portal.backup.databases import database
from portal.backup.errors import Refused
from portal.backup.manifest import Manifest
from portal.env import DATA_DIR
from portal.version import VERSION

_WORK = DATA_DIR / "backup.partial"


def create(path: Path | None, *, encrypt: bool, with_images: bool) -> Path:
    """The new file, readable by its owner only. It appears under its name when it is whole."""
    if database().is_empty():
        raise Refused("There is nothing to back up yet.")
    django.setup()
    now = datetime.now(UTC)
    target = _target(path, f"{settings.INSTANCE}-{now:%Y%m%dT%H%M%SZ}.{'sealed.zip' if encrypt else 'zip'}")
    passphrase = sealing.passphrase(confirm=True) if encrypt else None
    with places.one_at_a_time():
        shutil.rmtree(_WORK, ignore_errors=True)  # of one that was killed
        _WORK.mkdir(mode=0o700)
        partial = target.with_name(f"{target.name}.partial")
        partial.unlink(missing_ok=True)
        try:
            archive.create_private(partial)
            _write(partial, now, with_images, passphrase)
            _publish(partial, target)
        finally:
            partial.unlink(missing_ok=True)
            shutil.rmtree(_WORK, ignore_errors=True)
    return target


def _target(path: Path | None, name: str) -> Path:
    if path is None:
        path = DATA_DIR / "backups"
        path.mkdir(mode=0o700, exist_ok=True)
    target = (path / name if path.is_dir() else path).resolve()
    if target.exists():
        raise Refused(f"{target} exists already.")
    if not target.parent.is_dir():
        raise Refused(f"There is no directory {target.parent}.")
    return target


def _write(partial: Path, now: datetime, with_images: bool, passphrase: str | None) -> None:
    source = database()
    dump, key = _WORK / places.DATABASE, _WORK / places.SECRET_KEY
    source.dump(dump)
    key.write_text(settings.SECRET_KEY)
    files = {places.DATABASE: dump, places.SECRET_KEY: key, **places.to_back_up(with_images)}
    manifest = Manifest(
        version=VERSION,
        created_at=now.isoformat(timespec="seconds"),
        instance=settings.INSTANCE,
        engine=source.engine,
        migrations=applied_migrations(),
        files={name: archive.digest(file) for name, file in files.items()},
    )
    if passphrase is None:
        archive.write(partial, manifest, files)
        return
    plain = _WORK / "backup.zip"
    archive.create_private(plain)
    archive.write(plain, manifest, files)
    sealing.seal(plain, partial, passphrase)


def applied_migrations() -> list[str]:
    """Of the database that Django is connected to, as "app.name"."""
    from django.db import connection
    from django.db.migrations.recorder import MigrationRecorder

    return sorted(f"{app}.{name}" for app, name in MigrationRecorder(connection).applied_migrations())


def _publish(partial: Path, target: Path) -> None:
    """On the disk before it has its name; the name is not taken from a file that appeared meanwhile."""
    for path in (partial, partial.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    try:
        os.link(partial, target)
    except FileExistsError:
        raise Refused(f"{target} exists already.") from None
