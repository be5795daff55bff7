"""Volumes read back, whole and in order: to bring one into the image store, or to see that all of it arrived."""

from __future__ import annotations

from functools import partial

import libvirt

from hosts.driver import errors
from hosts.driver.base import Progress, Take
from hosts.driver.kvm import upload
from hosts.driver.kvm.connection import Calls

CHUNK_BYTES = 1 << 20
CHUNK_SECONDS = 30.0


class DownloadCalls(Calls):
    def download(self, pool: str, name: str, take: Take, progress: Progress | None = None) -> int:
        """Constant memory; the deadline is per chunk, for the whole takes as long as the network lets it."""
        session = self._connection.session()
        try:
            stream, size = session.run(partial(_open, pool=pool, name=name), CHUNK_SECONDS)
            received = 0
            while chunk := session.run(lambda _: stream.recv(CHUNK_BYTES), CHUNK_SECONDS):
                take(chunk)
                received += len(chunk)
                if progress is not None:
                    progress(min(received / size, 1.0))
            session.run(lambda _: stream.finish(), CHUNK_SECONDS)
        finally:
            session.drop()
        if received != size:
            raise errors.DriverError(f"{received} bytes of {size} came from volume {name}")
        return received


def _open(connect: libvirt.virConnect, *, pool: str, name: str) -> tuple[libvirt.virStream, int]:
    """The stream, and how many bytes the file has."""
    place = connect.storagePoolLookupByName(pool)
    upload.refresh(place)  # another host may have written there
    volume = place.storageVolLookupByName(name)
    if not upload.is_whole(name, upload.names_in(place)):
        raise errors.NotFound(f"volume {name} is not whole")
    size = volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[upload.PHYSICAL]
    stream = connect.newStream()
    volume.download(stream, 0, 0)  # to its end
    return stream, size
