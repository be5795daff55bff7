"""Points in time of running domains: their disks all at once, with the guest's memory where it is asked for.

libvirt keeps no record of them (NO_METADATA): which file stands on which is told by the files, and by the database.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as OutOfTime
from contextlib import nullcontext, suppress
from uuid import UUID

import libvirt

from hosts.driver import errors
from hosts.driver.base import Progress
from hosts.driver.kvm.connection import Calls, in_thread
from hosts.driver.kvm.domains import find, lookup
from hosts.driver.kvm.freeze import FROZEN_SECONDS, frozen
from hosts.driver.types import FreshLayer
from hosts.driver.xml.addresses import with_addresses_of
from hosts.driver.xml.chain import chain_of, targets_of
from hosts.driver.xml.layers import Overlay, snapshot_xml

FREEZE_SECONDS = 60.0
END_SECONDS, END_LOOK_SECONDS = 6.0, 0.2  # within the time of any call
RESTORE_SECONDS = 600.0
# A guest of 64 GiB at 20 MiB/s. While its memory is written, the words of progress keep the step alive.
MEMORY_SECONDS = 3600.0
_LOOK_SECONDS = 1.0
_FREEZE = (
    libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
)
_DISKS = _FREEZE | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY


class LayerCalls(Calls):
    def freeze(
        self,
        uuid: UUID,
        layers: Sequence[FreshLayer],
        *,
        quiesce: bool = False,
        memory: str | None = None,
        progress: Progress | None = None,
    ) -> bool:
        """On a connection of its own, as memory takes its time."""

        def freeze(connect: libvirt.virConnect) -> bool:
            return _freeze(connect, self.uri, uuid, layers, quiesce, memory)

        session = self._connection.session()
        try:
            if memory is None:
                return session.run(freeze, FREEZE_SECONDS)
            return self._watched(in_thread(lambda: session.run(freeze, MEMORY_SECONDS), "freeze"), uuid, progress)
        finally:
            session.drop()

    def end_freeze(self, uuid: UUID) -> None:
        self._connection.call(lambda connect: _end(find(connect, uuid)))

    def restore(self, uuid: UUID, pool: str, memory: str) -> None:
        session = self._connection.session()
        try:
            session.run(lambda connect: _restore(connect, uuid, pool, memory), RESTORE_SECONDS)
        finally:
            session.drop()

    def _watched(self, freezing: Future[bool], uuid: UUID, progress: Progress | None) -> bool:
        """Whoever stops it by an error in `progress` leaves the host to finish it, or calls `end_freeze`."""
        while True:
            try:
                return freezing.result(_LOOK_SECONDS)
            except OutOfTime:
                if freezing.done():  # by a deadline of its own
                    raise
                if progress is not None:
                    progress(self._connection.read(lambda connect: _written(lookup(connect, uuid))))


def _end(domain: libvirt.virDomain | None) -> None:
    """libvirt writes the memory first, and freezes the disks after that, which takes no time."""
    until = time.monotonic() + END_SECONDS
    while domain is not None and _is_freezing(domain):
        if time.monotonic() > until:
            raise errors.Busy("its memory is still being written down")
        with suppress(libvirt.libvirtError):  # it is past what can be aborted
            domain.abortJob()
        time.sleep(END_LOOK_SECONDS)


def _is_freezing(domain: libvirt.virDomain) -> bool:
    job = domain.jobStats() if domain.isActive() else {}
    is_under_way = job.get("type", libvirt.VIR_DOMAIN_JOB_NONE) != libvirt.VIR_DOMAIN_JOB_NONE
    return bool(is_under_way and job.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT)


def _written(domain: libvirt.virDomain) -> float:
    job = domain.jobStats()
    return job.get("memory_processed", 0) / total if (total := job.get("memory_total", 0)) else 0.0


def _freeze(
    connect: libvirt.virConnect,
    uri: str,
    uuid: UUID,
    layers: Sequence[FreshLayer],
    quiesce: bool,
    memory: str | None,
) -> bool:
    domain = lookup(connect, uuid)
    if not domain.isActive():
        raise errors.InvalidState(f"domain {uuid} is off")
    xml = domain.XMLDesc()
    written = {layer.target: chain_of(xml, layer.target) for layer in layers}
    done = [
        bool(chain) and chain[0].volume == layer.volume for layer, chain in zip(layers, written.values(), strict=True)
    ]
    if all(done):
        return False
    if any(done) or not all(written.values()):
        raise errors.InvalidState(f"domain {uuid} has other disks than those that were to be frozen")
    overlays = [_overlay(connect, layer) for layer in layers]
    others = [target for target in targets_of(xml) if target not in written]
    if memory is not None:
        path = _path(connect, layers[0].pool, memory)
        domain.snapshotCreateXML(snapshot_xml(overlays, others, path), _FREEZE)
        return False
    with frozen(uri, domain) if quiesce else nullcontext(False) as is_quiesced:
        frozen_at = time.monotonic()
        domain.snapshotCreateXML(snapshot_xml(overlays, others, None), _DISKS)
        is_late = time.monotonic() - frozen_at > FROZEN_SECONDS - 1
    return is_quiesced and not is_late  # the guard may have thawed the guest before


def _overlay(connect: libvirt.virConnect, layer: FreshLayer) -> Overlay:
    volume = connect.storagePoolLookupByName(layer.pool).storageVolLookupByName(layer.volume)
    return Overlay(layer.target, volume.path(), volume.info()[0] == libvirt.VIR_STORAGE_VOL_BLOCK)


def _path(connect: libvirt.virConnect, pool: str, volume: str) -> str:
    return str(connect.storagePoolLookupByName(pool).storageVolLookupByName(volume).path())


def _restore(connect: libvirt.virConnect, uuid: UUID, pool: str, memory: str) -> None:
    domain = lookup(connect, uuid)
    if domain.isActive():
        return
    path = _path(connect, pool, memory)
    definition = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
    xml = with_addresses_of(definition, connect.saveImageGetXMLDesc(path))
    connect.restoreFlags(path, xml, libvirt.VIR_DOMAIN_SAVE_RUNNING)
