"""qemu-img, always in the jail and always told the format."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portal.core.outbound.refusal import Refused
from vms.imaging import jail
from vms.imaging.formats import Format
from vms.imaging.jail import Done, Limits
from vms.imaging.refusal import damaged

GIB = 1024**3
_LOOK = Limits(cpu_seconds=20, wall_seconds=60, memory_bytes=GIB)
_READ_ALL = Limits(cpu_seconds=600, wall_seconds=1800, memory_bytes=GIB)
CONVERT_CPU_SECONDS, CONVERT_WALL_SECONDS = 4 * 3600, 12 * 3600.0
STALLED_SECONDS = 300.0  # without a byte of progress
# qemu-img check: no errors; cannot be checked in this format; only leaked space
_SOUND, _UNCHECKED, _LEAKS = 0, 63, 3
_PROGRESS = re.compile(r"\((\d+\.\d+)/100%\)")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Facts:
    """`refers` is whether it needs another file, or a key."""

    format: str
    virtual_size: int
    refers: bool


def facts(source: Path, format: Format | None) -> Facts:
    """What qemu-img takes the file for: as the format it is told, or by its own guess. Raises Refused."""
    told = ["-f", format.in_qemu] if format else []
    done = jail.run(["qemu-img", "info", "--output=json", *told, source.name], source.parent, _LOOK)
    if done.code != 0:
        raise _failed(done, "it cannot be opened as what it was said to be")
    found = _parsed(done)
    specific = found.get("format-specific", {}).get("data", {})
    refers = _files(found) != {source.name} or any(
        name in found for name in ("backing-filename", "full-backing-filename", "backing-filename-format")
    )
    return Facts(
        format=str(found.get("format")),
        virtual_size=int(found.get("virtual-size", 0)),
        refers=refers or "data-file" in specific or bool(found.get("encrypted")),
    )


def _files(told: Any) -> set[str]:
    """All files that are named as opened, at whatever depth."""
    if isinstance(told, list):
        return set().union(*map(_files, told))
    if not isinstance(told, dict):
        return set()
    own = {str(told["filename"])} if "filename" in told else set()
    return own.union(*map(_files, told.values()))


def check(source: Path, format: Format) -> None:
    """That its tables are sound, where the format has any. Raises Refused."""
    done = jail.run(["qemu-img", "check", "-f", format.in_qemu, source.name], source.parent, _READ_ALL)
    if done.code not in (_SOUND, _UNCHECKED, _LEAKS):
        raise _failed(done, "its tables contradict each other, or point beyond its end")


def measure(source: Path, format: Format) -> int:
    """Bytes that it will take as a clean qcow2, at most: a file that unfolds is seen here, before it does."""
    command = ["qemu-img", "measure", "--output=json", "-f", format.in_qemu, "-O", "qcow2", source.name]
    done = jail.run(command, source.parent, _READ_ALL)
    if done.code != 0:
        raise _failed(done, "it cannot be read through")
    return int(_parsed(done)["required"])


def convert(
    source: Path, format: Format, target: Path, most_bytes: int, progress: Callable[[float], None] = lambda f: None
) -> None:
    """Write `source` as a qcow2 of at most `most_bytes` to `target`, a new file beside it. Raises Refused.

    What `progress` raises ends it; `target` may be left in part.
    """
    bound = Limits(CONVERT_CPU_SECONDS, CONVERT_WALL_SECONDS, GIB, file_bytes=most_bytes)
    command = ["qemu-img", "convert", "-p", "-f", format.in_qemu, "-O", "qcow2", "-t", _cache(source.parent)]
    watch = _Watch(progress)
    done = jail.run([*command, source.name, target.name], source.parent, bound, watch)
    if done.hit_file_limit:
        raise Refused("image_too_large", "The image unfolds to more than it said it would.")
    if done.code != 0:
        raise _failed(done, "it cannot be read through")


class _Watch:
    """Reads the fraction that qemu-img prints, and ends one that does not move."""

    def __init__(self, progress: Callable[[float], None]) -> None:
        self._progress = progress
        self._fraction = 0.0
        self._moved_at = time.monotonic()

    def __call__(self, text: str) -> None:
        if printed := _PROGRESS.findall(text):
            fraction = float(printed[-1]) / 100
            if fraction > self._fraction:
                self._fraction, self._moved_at = fraction, time.monotonic()
        if time.monotonic() - self._moved_at > STALLED_SECONDS:
            raise Refused("image_stalled", "Converting the image did not get on.")
        self._progress(self._fraction)


def _cache(directory: Path) -> str:
    """Past the page cache, and so on the disk when it ends, where the file system can do that."""
    probe = directory / "direct"
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o600))
    except OSError:
        return "writeback"
    finally:
        probe.unlink(missing_ok=True)
    return "none"


def _parsed(done: Done) -> dict[str, Any]:
    try:
        found = json.loads(done.output)
    except ValueError as error:
        raise damaged("it says too much about itself") from error
    return dict(found)


def _failed(done: Done, why: str) -> Refused:
    logger.warning("qemu-img ended with %s: %s", "a time-out" if done.is_timeout else done.code, done.words)
    return damaged(why)
