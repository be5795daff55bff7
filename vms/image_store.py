"""Where the files of images lie: one directory, one file a checksum, which several images may name."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from django.conf import settings

from portal.operations.workflow import TransientError
from vms.models import Image

_CHUNK = 1024 * 1024
LOCK_SECONDS, LOCK_EVERY_SECONDS = 10.0, 0.05
UNNAMED_SECONDS = 3600.0  # that a file stays that nobody names


def path(image: Image) -> Path:
    return Path(settings.IMAGE_DIR) / image.file_name


def sha256(source: Path, progress: Callable[[int], None] = lambda done: None) -> str:
    """`progress` hears how many bytes were read, and may raise."""
    digest, done = hashlib.sha256(), 0
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress(done)
    return digest.hexdigest()


def virtual_size(source: Path) -> int:
    """Bytes a guest sees, from the qcow2 header (QEMU docs/interop/qcow2.txt). ValueError where it is no qcow2."""
    with source.open("rb") as file:
        header = file.read(32)
    if len(header) < 32 or header[:4] != b"QFI\xfb":
        raise ValueError(f"{source.name} is no qcow2 image")
    return int(struct.unpack(">Q", header[24:32])[0])


def keep(source: Path, image: Image) -> None:
    """Copy a file into the store under the image's name; whole or not at all."""
    target = path(image)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() or target == source:
        target.touch()
        return
    partial = target.with_suffix(".partial")
    shutil.copyfile(source, partial)
    os.replace(partial, target)


@contextmanager
def locked() -> Iterator[None]:
    """Around naming a file and putting it there, and around removing what nobody names: never both at once.

    TransientError where somebody else has it for long, as a worker that was stopped in the middle may.
    """
    Path(settings.IMAGE_DIR).mkdir(parents=True, exist_ok=True)
    with (Path(settings.IMAGE_DIR) / ".lock").open("a") as lock:
        until = time.monotonic() + LOCK_SECONDS
        while not _is_free(lock):
            if time.monotonic() > until:
                raise TransientError("the store of images, which another worker is changing")
            time.sleep(LOCK_EVERY_SECONDS)
        yield


def _is_free(lock: IO[str]) -> bool:
    """It is ours then, until the file is closed."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_named_by_others(image: Image) -> bool:
    """Whether another image has the same bytes."""
    rows = Image.objects.unscoped("image store").filter(sha256=image.sha256)
    return rows.exclude(pk=image.pk).exists()


def remove(image: Image) -> None:
    """Remove the file of an image that is about to go, where no other image has the same. Under `locked`."""
    if image.sha256 and not is_named_by_others(image):
        path(image).unlink(missing_ok=True)


def take(source: Path, image: Image) -> None:
    """Move a file of our own making into the store; where the same bytes are there already, they stay. Under `locked`.

    `source` lies on the same file system.
    """
    target = path(image)
    if target.exists():
        target.touch()
        source.unlink()
        return
    if os.geteuid() == 0:
        os.chown(source, 0, 0, follow_symlinks=False)
    source.chmod(0o640)
    os.replace(source, target)


def unnamed(older_than: float) -> list[Path]:
    """Files that no row names, and that nobody has put there, or found there, for so many seconds."""
    found = [path for path in Path(settings.IMAGE_DIR).glob("image-*.qcow2") if _age(path) > older_than]
    names = {image.file_name for image in Image.objects.unscoped("image store")} if found else set()
    return [path for path in found if path.name not in names]


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
