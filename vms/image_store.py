"""Where the files of images lie: one directory, one file a checksum."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from vms.models import Image

_CHUNK = 1024 * 1024


def path(image: Image) -> Path:
    return Path(settings.IMAGE_DIR) / image.file_name


def sha256(source: Path) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
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
        return
    partial = target.with_suffix(".partial")
    shutil.copyfile(source, partial)
    os.replace(partial, target)


@contextmanager
def locked() -> Iterator[None]:
    """Around naming a file and putting it there, and around removing what nobody names: never both at once."""
    Path(settings.IMAGE_DIR).mkdir(parents=True, exist_ok=True)
    with (Path(settings.IMAGE_DIR) / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_named_by_others(image: Image) -> bool:
    """Whether another image has the same bytes."""
    rows = Image.objects.unscoped("image store").filter(sha256=image.sha256)
    return rows.exclude(pk=image.pk).exists()


def remove(image: Image) -> None:
    """Remove the file of an image that is about to go, where no other image has the same. Under `locked`."""
    if image.sha256 and not is_named_by_others(image):
        path(image).unlink(missing_ok=True)
