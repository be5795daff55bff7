"""Where files lie between their sender and the image store: a directory for each image that is to be.

source      as it came; its length is how much of an upload is there
fetching    the same while it is being fetched
clean.qcow2 converted
converting-N the same while attempt N writes it
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from uuid import UUID

from django.conf import settings

from portal.core.errors import Conflict, DomainError
from portal.operations.services import active_on
from vms.models import Image, ImageState, ImageUpload

REAP_SECONDS = 60.0  # between two looks for what nobody has


LOOK_EVERY_BYTES = 64 << 20  # at how much room is left, while something comes in


class NoSpace(DomainError):
    """The disk of the portal is full, or would be."""

    status = 507
    code = "no_space"


def directory(id: UUID) -> Path:
    return Path(settings.INTAKE_DIR) / str(id)


def source(id: UUID) -> Path:
    return directory(id) / "source"


def fetching(id: UUID) -> Path:
    return directory(id) / "fetching"


def clean(id: UUID) -> Path:
    return directory(id) / "clean.qcow2"


def converting(id: UUID, fence: int) -> Path:
    return directory(id) / f"converting-{fence}"


def prepare(id: UUID) -> None:
    directory(id).mkdir(parents=True, exist_ok=True, mode=0o700)


def received(id: UUID) -> int:
    """Bytes of an upload that are there."""
    try:
        return source(id).stat().st_size
    except FileNotFoundError:
        return 0


def remove(id: UUID) -> None:
    """All of it; nothing where there is nothing."""
    shutil.rmtree(directory(id), ignore_errors=True)
    if directory(id).exists():
        shutil.rmtree(directory(id))  # says what is in the way


def ids(older_than: float = 0) -> Iterator[UUID]:
    """Of each directory in which nothing was made or removed for so many seconds; what has another name is nobody's."""
    with suppress(FileNotFoundError):
        for path in Path(settings.INTAKE_DIR).iterdir():
            with suppress(ValueError, FileNotFoundError):
                if path.stat().st_mtime <= time.time() - older_than:
                    yield UUID(path.name)


def is_owned(id: UUID) -> bool:
    """Whether a directory of the intake is an upload's or a pending image's. Rows come before directories."""
    uploads = ImageUpload.objects.unscoped("reaper").filter(pk=id, finished_at=None)
    images = Image.objects.unscoped("reaper").filter(pk=id, state=ImageState.PENDING)
    return uploads.exists() or images.exists() or active_on("image", id) is not None


def require_space(size_bytes: int) -> None:
    """That a file of this size would leave the portal room to live. Raises NoSpace."""
    Path(settings.INTAKE_DIR).mkdir(parents=True, exist_ok=True, mode=0o700)
    if shutil.disk_usage(settings.INTAKE_DIR).free - size_bytes < settings.INTAKE_RESERVE_BYTES:
        raise NoSpace("The portal has not enough storage for this file now. Try again later, or ask an administrator.")


@contextmanager
def writing(id: UUID) -> Iterator[FileIO]:
    """The upload's file at its end. One writer at a time; the lock goes with its process, however that ends."""
    prepare(id)
    with FileIO(os.open(source(id), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            words = "Another request is writing to this upload; ask for its offset in a moment."
            raise Conflict(words, code="upload_busy") from error
        file.seek(0, os.SEEK_END)
        yield file
