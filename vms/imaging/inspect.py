"""What a file from outside really is. Three opinions must agree: who sent it, our own readers, and qemu-img's."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from oslo_utils.imageutils.format_inspector import FileInspector, ImageFormatError, InspectWrapper, SafetyCheckFailed

from portal.core.outbound.refusal import Refused
from vms.imaging import headers, qemu
from vms.imaging.formats import FIXED_VHD, RECOGNISED, Format
from vms.imaging.headers import external
from vms.imaging.refusal import damaged

Progress = Callable[[int], None]
# The inspectors want small pieces where the headers are; what follows is read for the checksum, and for their ends.
_HEAD_BYTES, _SMALL, _LARGE = 4 * 1024 * 1024, 4096, 1024 * 1024
_TELL_SIZE = ("qcow2", "vmdk", "vdi", "vhdx")
_SAFETY = {
    "backing_file": external("it stands on another image"),
    "data_file": external("its data lies in another file"),
    "unknown_features": Refused("image_unsupported", "The image uses features of qcow2 that are not known here."),
}


@dataclass(frozen=True)
class Found:
    """`sha256` is of the file as it came; `needed_bytes` what the image takes as a clean qcow2, at most."""

    sha256: str
    virtual_size: int
    needed_bytes: int


def inspect(source: Path, format: Format, most_virtual_bytes: int, progress: Progress = lambda done: None) -> Found:
    """Raises Refused where the file is not exactly, and harmlessly, of this format.

    `progress` hears how many bytes were read and may raise. Nothing but our own readers opens the file before they are
    done with it.
    """
    size = source.stat(follow_symlinks=False).st_size
    with _open(source) as file:
        if size < headers.SECTOR:
            raise damaged("it is shorter than any disk")
        headers.refuse_packed(file)
        headers.refuse_description(file)
        digest, seen = _read_through(file, progress)
        own_size = _recognise(file, format, seen, size)
    virtual_size = _agree(source, format, own_size, is_raw_to_qemu=_is_fixed(source, format, size))
    if not 0 < virtual_size <= most_virtual_bytes:
        raise Refused("image_too_large", f"The disk in the image may be {most_virtual_bytes // qemu.GIB} GiB at most.")
    qemu.check(source, format)
    return Found(digest, virtual_size, _needed(source, format, size))


def require_clean(target: Path) -> None:
    """That what the jail wrote is one whole qcow2, whatever happened in there. Raises Refused."""
    with _open(target) as file:
        _, seen = _read_through(file, lambda done: None, most_bytes=_HEAD_BYTES)
        _recognise(file, Format.QCOW2, seen, os.fstat(file.fileno()).st_size)


def _open(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def _read_through(file: BinaryIO, progress: Progress, most_bytes: int | None = None) -> tuple[str, list[FileInspector]]:
    """SHA-256 of the file, and the inspectors that recognise it."""
    file.seek(0)
    wrapper, digest, done = InspectWrapper(file), hashlib.sha256(), 0
    is_decided = False
    while most_bytes is None or done < most_bytes:
        length = _SMALL if done < _HEAD_BYTES else _LARGE
        piece = file.read(length) if is_decided else wrapper.read(length)
        if not piece:
            break
        digest.update(piece)
        done += len(piece)
        is_decided = is_decided or wrapper.formats is not None
        if done % _LARGE == 0:
            progress(done)
    wrapper._finish()
    return digest.hexdigest(), list(wrapper.formats or [])


def _recognise(file: BinaryIO, format: Format, seen: list[FileInspector], size: int) -> int | None:
    """The size of the disk as its own header has it; None where the format has none that is read here."""
    names = frozenset(str(inspector) for inspector in seen)
    if "luks" in names:
        raise Refused("image_encrypted", "The image is encrypted. Send it decrypted.")
    allowed = RECOGNISED[format]
    if format == Format.VHD and headers.is_fixed_vhd(file, size):
        allowed = (*allowed, *FIXED_VHD)
    if names not in allowed:
        raise Refused("image_format_mismatch", f"The file was said to be {format}; it looks like {_words(names)}.")
    for inspector in seen:
        if str(inspector) != "gpt":  # what is in the partitions of a disk is the guest's own affair
            _require_safe(inspector)
    headers.check(file, format, size)
    return next((inspector.virtual_size for inspector in seen if str(inspector) in _TELL_SIZE), None)


def _require_safe(inspector: FileInspector) -> None:
    try:
        inspector.safety_check()
    except SafetyCheckFailed as error:
        known = next((_SAFETY[name] for name in _SAFETY if name in error.failures), None)
        raise known or Refused("image_unsupported", f"This kind of {inspector} is not taken.") from error
    except ImageFormatError as error:
        raise damaged("its header is cut off") from error


def _words(names: frozenset[str]) -> str:
    names = frozenset({"a raw disk" if name in ("raw", "gpt") else name for name in names})
    return " and ".join(sorted(names))


def _is_fixed(source: Path, format: Format, size: int) -> bool:
    if format != Format.VHD:
        return False
    with _open(source) as file:
        return headers.is_fixed_vhd(file, size) and not file.seek(0) and not file.read(8).startswith(b"conectix")


def _agree(source: Path, format: Format, own_size: int | None, is_raw_to_qemu: bool) -> int:
    """The size of the disk, where qemu-img takes the file for the same, told and untold."""
    told, guess = qemu.facts(source, format), qemu.facts(source, None)
    expected = "raw" if is_raw_to_qemu else format.in_qemu
    if told.format != format.in_qemu or guess.format != expected:
        raise Refused("image_format_mismatch", f"The file was said to be {format}; QEMU takes it for {guess.format}.")
    if told.refers or guess.refers:
        raise external("it needs something beside itself")
    if own_size is not None and own_size != told.virtual_size:
        raise damaged("it tells two sizes")
    return told.virtual_size


def _needed(source: Path, format: Format, size: int) -> int:
    """qemu-img cannot tell what of a VHDX is used, but a VHDX is never compressed."""
    needed = qemu.measure(source, format)
    return min(needed, size + needed // 256) if format == Format.VHDX else needed
