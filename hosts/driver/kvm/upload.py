"""Uploads that are either whole or not there.

libvirt cannot rename a volume, so an upload marks its volume as unfinished by an empty volume beside it, named
"NAME.HEX.part", which is made before the first byte and deleted after the last one was counted. A volume with a mark is
not there for anybody else. A mark whose upload died is replaced together with its volume by the next upload; whether it
died is told by the time of the volume's last write against that of the newcomer's mark, both by the host's clock.

libvirt now and then forgets that a write failed and lets the stream end well. Bytes are written in order, so the last
ones that are not zeros are read back: where they arrived, all before them did, and a hole behind them reads as zeros.
"""

from __future__ import annotations

import io
import re
import secrets
import time
from collections.abc import Collection
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

import libvirt

from hosts.driver import errors
from hosts.driver.base import Progress
from hosts.driver.kvm.connection import Calls, Session
from hosts.driver.kvm.errors import translate
from hosts.driver.types import VolumeFacts
from hosts.driver.xml import parse
from hosts.driver.xml.volume import volume_xml

CHUNK_BYTES = 1 << 20
CHUNK_SECONDS = 30.0
STALE_SECONDS = 10.0  # without a byte, an upload is taken for dead
REFRESH_SECONDS = 20.0
# what libvirt says when another upload made or removed a volume between two calls of this one
_LOST_RACE = frozenset({libvirt.VIR_ERR_STORAGE_VOL_EXIST, libvirt.VIR_ERR_NO_STORAGE_VOL})
_MADE_ELSEWHERE = "already exists"  # by another host that sees the same directory: libvirt has no code for it
_MARK = re.compile(r"(?P<name>.+)\.[0-9a-f]{8}\.part")
PHYSICAL = 2  # index into what a volume's infoFlags returns
AVAILABLE = 3  # index into what a pool's info returns


def is_whole(name: str, names: Collection[str]) -> bool:
    """Whether the volume `name`, among all `names` of its pool, is neither a mark nor unfinished."""
    return not _MARK.fullmatch(name) and not marks_of(name, names)


def unfinished_in(names: Collection[str]) -> tuple[str, ...]:
    """The volumes whose marks are among the names of a pool, whether a byte of them is there or not."""
    return tuple(sorted({mark["name"] for name in names if (mark := _MARK.fullmatch(name))}))


def named(volumes: Collection[libvirt.virStorageVol]) -> dict[str, libvirt.virStorageVol]:
    """By name. What somebody has put there under a name that is no text is none of ours, and cannot be asked for."""
    found = {}
    for volume in volumes:
        with suppress(UnicodeDecodeError):
            found[volume.name()] = volume
    return found


def names_in(pool: libvirt.virStoragePool) -> list[str]:
    return list(named(pool.listAllVolumes()))


def new_mark(name: str) -> str:
    return f"{name}.{secrets.token_hex(4)}.part"


def delete_with_marks(pool: libvirt.virStoragePool, name: str) -> None:
    """The volume first, so that what is left after an interruption is never a part without its mark."""
    names = names_in(pool)
    for volume in [name, *marks_of(name, names)]:
        delete_one(pool, volume)


class UploadCalls(Calls):
    def upload(
        self,
        pool: str,
        name: str,
        source: Path | bytes,
        fmt: str,
        progress: Progress | None = None,
        *,
        replace: bool = True,
    ) -> VolumeFacts:
        """Constant memory; the deadline is per chunk, for the whole takes as long as the network lets it."""
        session = self._connection.session()
        try:
            with _opened(source) as data:
                return _Upload(session, pool, name, fmt, replace).send(data, progress)
        finally:
            session.drop()


class _Upload:
    def __init__(self, session: Session, pool: str, name: str, fmt: str, replace: bool) -> None:
        self._session, self._pool, self._name, self._format = session, pool, name, fmt
        self._replace = replace
        self._mark = new_mark(name)
        self._last_bytes = (0, b"")  # where they begin; of the last chunk that is not all zeros

    def send(self, data: BinaryIO, progress: Progress | None) -> VolumeFacts:
        size = data.seek(0, io.SEEK_END)
        data.seek(0)
        stream = self._session.run(lambda connect: self._prepare(connect, size), CHUNK_SECONDS)
        try:
            self._stream(stream, data, size, progress)
            return self._session.run(lambda connect: self._finish(connect, stream, size), CHUNK_SECONDS)
        except BaseException:
            with suppress(errors.DriverError):  # its mark stays where this fails
                self._session.run(lambda connect: self._withdraw(connect, stream), CHUNK_SECONDS)
            raise

    def _prepare(self, connect: libvirt.virConnect, size: int) -> libvirt.virStream:
        """Mark, make room, open the stream. Whoever loses a race for the name is Busy."""
        pool = connect.storagePoolLookupByName(self._pool)
        try:
            volume = self._make_room(pool, size)
        except libvirt.libvirtError as error:
            if error.get_error_code() not in _LOST_RACE and _MADE_ELSEWHERE not in str(error):
                raise
            delete_one(pool, self._mark)
            raise errors.Busy(f"somebody else uploads {self._name}") from error
        stream = connect.newStream()
        volume.upload(stream, 0, size)
        return stream

    def _make_room(self, pool: libvirt.virStoragePool, size: int) -> libvirt.virStorageVol:
        if not self._replace:
            refresh_if_idle(pool)  # it may be there from another host
        mark = pool.createXML(volume_xml(self._mark, "raw", 0))
        others = [other for other in marks_of(self._name, names_in(pool)) if other != self._mark]
        if any(_is_fresh(pool, other, mark) for other in ([self._name, *others] if others else [])):
            mark.delete()
            raise errors.Busy(f"somebody else uploads {self._name}")
        if not self._replace and not others and self._name in names_in(pool):
            mark.delete()
            raise errors.Busy(f"somebody else has just uploaded {self._name}")
        for old in [self._name, *others]:
            delete_one(pool, old)
        return pool.createXML(volume_xml(self._name, "raw", size))

    def _stream(self, stream: libvirt.virStream, data: BinaryIO, size: int, progress: Progress | None) -> None:
        sent = 0
        while chunk := data.read(CHUNK_BYTES):
            self._session.run(partial(_send_all, stream, chunk), CHUNK_SECONDS)
            if chunk.count(0) < len(chunk):
                self._last_bytes = (sent, chunk)
            sent += len(chunk)
            if progress is not None:
                progress(sent / size)

    def _finish(self, connect: libvirt.virConnect, stream: libvirt.virStream, size: int) -> VolumeFacts:
        stream.finish()
        pool = connect.storagePoolLookupByName(self._pool)
        marks = marks_of(self._name, names_in(pool))
        if marks != [self._mark]:
            raise errors.Busy(f"somebody else took over the upload of {self._name}")
        volume = pool.storageVolLookupByName(self._name)
        there = volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[PHYSICAL]
        if there != size:
            raise errors.DriverError(f"{there} bytes of {size} arrived in volume {self._name}")
        self._check_last_bytes(connect, pool, volume)
        facts = _facts_of(pool, self._name, look_inside=self._format != "raw")
        if facts.format != self._format or facts.backing is not None:
            raise errors.Invalid(f"{self._name} is {facts.format} on {facts.backing}, not a whole {self._format}")
        delete_one(pool, self._mark)
        return facts

    def _check_last_bytes(
        self, connect: libvirt.virConnect, pool: libvirt.virStoragePool, volume: libvirt.virStorageVol
    ) -> None:
        start, expected = self._last_bytes
        if not expected or _read(connect, volume, start, len(expected)) == expected:
            return
        refresh(pool)
        if pool.info()[AVAILABLE] < CHUNK_BYTES:
            raise errors.NoSpace(f"volume {self._name} did not fit")
        raise errors.DriverError(f"volume {self._name} did not arrive whole")

    def _withdraw(self, connect: libvirt.virConnect, stream: libvirt.virStream) -> None:
        with suppress(libvirt.libvirtError):  # it may have ended
            stream.abort()
        pool = connect.storagePoolLookupByName(self._pool)
        if marks_of(self._name, names_in(pool)) == [self._mark]:
            delete_one(pool, self._name)
        delete_one(pool, self._mark)


def _opened(source: Path | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def marks_of(name: str, names: Collection[str]) -> list[str]:
    marks = ((volume, _MARK.fullmatch(volume)) for volume in names)
    return [volume for volume, mark in marks if mark and mark["name"] == name]


def _is_fresh(pool: libvirt.virStoragePool, name: str, mark: libvirt.virStorageVol) -> bool:
    """Whether a mark or an unfinished volume was written to shortly before `mark` was made."""
    if name not in names_in(pool):
        return False
    written = parse.volume_modified_at(pool.storageVolLookupByName(name).XMLDesc())
    now = parse.volume_modified_at(mark.XMLDesc())
    return written is not None and now is not None and (now - written).total_seconds() < STALE_SECONDS


def _send_all(stream: libvirt.virStream, chunk: bytes, _connect: libvirt.virConnect) -> None:
    view = memoryview(chunk)
    while view:
        view = view[stream.send(bytes(view)) :]


def _read(connect: libvirt.virConnect, volume: libvirt.virStorageVol, start: int, length: int) -> bytes:
    stream, read = connect.newStream(), bytearray()
    volume.download(stream, start, length)
    while piece := stream.recv(length):
        read += piece
    stream.finish()
    return bytes(read)


def _facts_of(pool: libvirt.virStoragePool, name: str, *, look_inside: bool) -> VolumeFacts:
    """libvirt looks inside a volume, for its format and backing file, when it scans the pool."""
    if look_inside:
        refresh(pool)
    return parse.volume(pool.storageVolLookupByName(name).XMLDesc())


def refresh(pool: libvirt.virStoragePool) -> None:
    """libvirt scans no pool in which a volume is being made; that passes, and the upload is not to be done again."""
    deadline = time.monotonic() + REFRESH_SECONDS
    while True:
        try:
            pool.refresh()
        except libvirt.libvirtError as error:
            if not isinstance(translate(error), errors.Busy) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def refresh_if_idle(pool: libvirt.virStoragePool) -> None:
    """libvirt looks at a pool's directory only when told; it refuses while a volume is being made there."""
    try:
        pool.refresh()
    except libvirt.libvirtError as error:
        if not isinstance(translate(error), errors.Busy):
            raise


def delete_one(pool: libvirt.virStoragePool, name: str) -> None:
    try:
        pool.storageVolLookupByName(name).delete()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
            raise
