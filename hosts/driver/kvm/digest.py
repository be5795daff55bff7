"""Reading volumes back, to see that they are what was written."""

from __future__ import annotations

import hashlib

import libvirt

from hosts.driver import errors
from hosts.driver.base import Progress
from hosts.driver.kvm import upload
from hosts.driver.kvm.connection import Calls, Session
from hosts.driver.types import FileDigest

READ_BYTES = 8 << 20  # in one call; the deadline is for that
READ_SECONDS = 60.0
_PHYSICAL = 2  # index into what a volume's infoFlags returns


class DigestCalls(Calls):
    def digest(self, pool: str, name: str, progress: Progress | None = None) -> FileDigest:
        session = self._connection.session()
        try:
            return _digest(session, pool, name, progress)
        finally:
            session.drop()


def _digest(session: Session, pool: str, name: str, progress: Progress | None) -> FileDigest:
    stream, size = session.run(lambda connect: _opened(connect, pool, name), READ_SECONDS)
    sha256, read = hashlib.sha256(), 0
    while chunk := session.run(lambda _: _read(stream), READ_SECONDS):
        sha256.update(chunk)
        read += len(chunk)
        if progress is not None:
            progress(min(read / size, 1) if size else 1)
    session.run(lambda _: stream.finish(), READ_SECONDS)
    if read < size:
        raise errors.DriverError(f"{read} bytes of {size} came from volume {name}")
    return FileDigest(read, sha256.hexdigest())


def _opened(connect: libvirt.virConnect, pool: str, name: str) -> tuple[libvirt.virStream, int]:
    place = connect.storagePoolLookupByName(pool)
    upload.refresh(place)
    volume = place.storageVolLookupByName(name)
    size = int(volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[_PHYSICAL])
    stream = connect.newStream()
    volume.download(stream, 0, 0)
    return stream, size


def _read(stream: libvirt.virStream) -> bytes:
    """Up to READ_BYTES; less at the end."""
    pieces, read = [], 0
    while read < READ_BYTES and (piece := stream.recv(READ_BYTES - read)):
        pieces.append(piece)
        read += len(piece)
    return b"".join(pieces)
