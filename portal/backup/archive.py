"""The zip of a backup: written file by file with checksums; read as something that an enemy may have made."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from portal.backup import manifest as manifests
from portal.backup import sealing
from portal.backup.errors import Refused
from portal.backup.manifest import Manifest, Stored

_CHUNK = 1024 * 1024
_ROOM_TO_LEAVE_BYTES = 64 * 1024 * 1024
_DAMAGED = (zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, KeyError)


def digest(path: Path) -> Stored:
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
        return Stored(file.tell(), sha256.hexdigest())


def write(path: Path, manifest: Manifest, files: Mapping[str, Path]) -> None:
    """Into `path`, which exists and is empty. Refused where a file is no longer what the manifest says."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(manifests.NAME, manifest.to_json())
        for name, source in files.items():
            with source.open("rb") as content, archive.open(name, "w", force_zip64=True) as member:
                if _copy(content, member, manifest.files[name].bytes) != manifest.files[name]:
                    raise Refused(f"{source} changed while it was read. Try again.")


@contextmanager
def opened(path: Path, work: Path) -> Iterator[zipfile.ZipFile]:
    """The plain archive, decrypted into `work` where it is sealed. Whatever cannot be read as one is Refused."""
    try:
        with zipfile.ZipFile(path) as outer:
            if not sealing.is_sealed(outer):
                yield outer
                return
            plain = work / "unsealed.zip"
            _require_room(path.stat().st_size, work)
            sealing.unseal(outer, plain, sealing.passphrase(confirm=False))
            with zipfile.ZipFile(plain) as inner:
                yield inner
    except zipfile.BadZipFile:
        raise Refused("This is no backup of Berth, or it is damaged: it cannot be read as a zip file.") from None
    except _DAMAGED as error:
        raise Refused(f"The backup is damaged, or it is none: {error}") from None
    except OSError as error:
        raise Refused(f"The backup is damaged, or cannot be read here: {error}") from None


def manifest_of(archive: zipfile.ZipFile) -> Manifest:
    """Checked against the members that are there: the same names, each once, of the same sizes."""
    members = archive.infolist()
    first = next((member for member in members if member.filename == manifests.NAME), None)
    if first is None or first.file_size > manifests.LARGEST_BYTES:
        raise Refused("This is no backup of Berth.")
    manifest = manifests.parse(archive.read(first))
    there = sorted((member.filename, member.file_size) for member in members if member is not first)
    if there != sorted((name, stored.bytes) for name, stored in manifest.files.items()):
        raise Refused("The backup is damaged: it does not hold the files that it lists.")
    return manifest


def extract(archive: zipfile.ZipFile, manifest: Manifest, targets: Mapping[str, Path]) -> None:
    """Each file to the place that the caller has for its name, with its checksum verified."""
    _require_room(sum(manifest.files[name].bytes for name in targets), next(iter(targets.values())).parent)
    for name, path in targets.items():
        with archive.open(name) as member, os.fdopen(_create(path), "wb") as target:
            if _copy(member, target, manifest.files[name].bytes) != manifest.files[name]:
                raise Refused(f"The backup is damaged: {name} has another checksum.")
            target.flush()
            os.fsync(target.fileno())


def create_private(path: Path) -> None:
    """An empty file that only its owner may read."""
    os.close(_create(path))


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)


def _copy(source: IO[bytes], target: IO[bytes], limit: int) -> Stored:
    """Stops after one byte more than `limit`, whatever there is."""
    sha256, left = hashlib.sha256(), limit + 1
    while left and (chunk := source.read(min(_CHUNK, left))):
        sha256.update(chunk)
        target.write(chunk)
        left -= len(chunk)
    return Stored(limit + 1 - left, sha256.hexdigest())


def _require_room(wanted: int, directory: Path) -> None:
    free = shutil.disk_usage(directory).free
    if wanted + _ROOM_TO_LEAVE_BYTES > free:
        raise Refused(f"It takes {wanted / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free under {directory}.")
