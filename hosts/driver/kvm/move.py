"""Moving a disk of a running domain to another volume, by QEMU's mirror.

The mirror goes on without whoever began it; once it has caught up, each write of the guest goes to both volumes. The
switch is made while the guest stands still for a tenth of a second: both then are the same, so whichever a crash leaves
in the definition is right.

What was begun is noted in the running domain (its metadata, gone with its power), and the new volume is unfinished by a
mark, as in hosts.driver.kvm.upload, until the guest is on it. A mirror counts only where the note says that it was
begun and names the one mark that is there. Others are ended: begun by a caller who was overtaken, they may write into
a file that has been removed since.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID
from xml.etree.ElementTree import Element, fromstring

import libvirt

from hosts.driver import errors
from hosts.driver.kvm import upload
from hosts.driver.kvm.connection import Calls
from hosts.driver.kvm.copy import ROOM_BYTES, is_in_step
from hosts.driver.kvm.disks import has, live_disk
from hosts.driver.kvm.domains import define_in, lookup
from hosts.driver.types import CopyFacts, DiskSpec, DomainSpec
from hosts.driver.xml.copy import copy_target_xml
from hosts.driver.xml.element import render
from hosts.driver.xml.volume import volume_xml

MOVE_SECONDS = 60.0
NAMESPACE = "urn:berth:move:1"
_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_NOTE = libvirt.VIR_DOMAIN_METADATA_ELEMENT
_COPY = (
    libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT
    | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
    | getattr(libvirt, "VIR_DOMAIN_BLOCK_COPY_SYNCHRONOUS_WRITES", 0)  # from 8.0: a busy guest cannot outrun it
)


class _Stage(StrEnum):
    """SWITCHING: the guest ran, and was paused for the switch."""

    PREPARING = "preparing"
    COPYING = "copying"
    SWITCHING = "switching"


@dataclass(frozen=True)
class _Note:
    stage: _Stage
    mark: str

    def write(self, domain: libvirt.virDomain) -> None:
        words = render(Element("move", {"stage": self.stage, "mark": self.mark}))
        domain.setMetadata(_NOTE, words, "move", NAMESPACE, _LIVE)


def _note_of(domain: libvirt.virDomain) -> _Note | None:
    try:
        root = fromstring(domain.metadata(_NOTE, NAMESPACE, _LIVE))  # noqa: S314  our own
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_METADATA:
            return None
        raise
    return _Note(_Stage(root.get("stage", "")), root.get("mark", ""))


class MoveCalls(Calls):
    def move_disk(self, spec: DomainSpec, target: str) -> CopyFacts:
        return self._connection.call(lambda connect: _Move(connect, spec, target).go_on(), seconds=MOVE_SECONDS)

    def end_move(self, uuid: UUID, disk: DiskSpec) -> bool:
        return self._connection.call(lambda connect: _end(connect, uuid, disk), seconds=MOVE_SECONDS)


class _Move:
    """To the volume that `spec`, the domain as it is to be afterwards, has as its disk `target`."""

    def __init__(self, connect: libvirt.virConnect, spec: DomainSpec, target: str) -> None:
        self._connect, self._spec, self._target = connect, spec, target
        (self._disk,) = (disk for disk in spec.disks if disk.target == target)
        self._domain = lookup(connect, spec.uuid)
        self._pool = connect.storagePoolLookupByName(self._disk.pool)

    def go_on(self) -> CopyFacts:
        there = live_disk(self._domain, self._target)
        if there is None:
            raise errors.InvalidState(f"domain {self._spec.uuid} does not run with a disk {self._target}")
        if has(self._connect, there, self._disk):
            return self._settle()
        job, note = self._domain.blockJobInfo(self._target, 0), _note_of(self._domain)
        if not job:
            return self._begin() if note is None or note.stage is _Stage.PREPARING else self._fail()
        if not self._is_ours(note):
            raise self._distrust()
        if not is_in_step(job):
            return CopyFacts(job["cur"], job["end"], False)
        self._switch()
        return self._settle()

    def _is_ours(self, note: _Note | None) -> bool:
        marks = upload.marks_of(self._disk.volume, upload.names_in(self._pool))
        return note is not None and note.stage is not _Stage.PREPARING and marks == [note.mark]

    def _begin(self) -> CopyFacts:
        size = self._domain.blockInfo(self._target)[0]
        note = _Note(_Stage.PREPARING, upload.new_mark(self._disk.volume))
        note.write(self._domain)
        path = self._make_volume(note, size)
        try:
            self._domain.blockCopy(self._target, copy_target_xml(path), {}, _COPY)
        except libvirt.libvirtError as error:
            if self._domain.blockJobInfo(self._target, 0):  # another's, into the file that was there before
                raise self._distrust() from error
            raise
        _Note(_Stage.COPYING, note.mark).write(self._domain)
        return CopyFacts(0, size, False, has_begun=True)

    def _make_volume(self, note: _Note, size: int) -> str:
        self._pool.createXML(volume_xml(note.mark, "raw", 0))
        names = upload.names_in(self._pool)
        for left in [self._disk.volume, *upload.marks_of(self._disk.volume, names)]:
            if left in names and left != note.mark:
                if _note_of(self._domain) != note:  # a caller that took over may have made it
                    upload.delete_one(self._pool, note.mark)
                    raise self._busy()
                upload.delete_one(self._pool, left)
        return str(self._pool.createXML(volume_xml(self._disk.volume, "qcow2", size)).path())

    def _switch(self) -> None:
        note = _note_of(self._domain)
        if note is not None and self._domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING:
            _Note(_Stage.SWITCHING, note.mark).write(self._domain)
            self._domain.suspend()
        self._domain.blockJobAbort(self._target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)

    def _settle(self) -> CopyFacts:
        """The guest is on the new volume. Its definition follows, and then it may go on."""
        define_in(self._connect, self._spec)
        for mark in upload.marks_of(self._disk.volume, upload.names_in(self._pool)):
            upload.delete_one(self._pool, mark)
        _let_go_on(self._domain)
        size = self._domain.blockInfo(self._target)[0]
        return CopyFacts(size, size, True)

    def _fail(self) -> CopyFacts:
        """QEMU tells nobody who asks afterwards why a job failed."""
        _let_go_on(self._domain)
        upload.refresh(self._pool)
        if self._pool.info()[upload.AVAILABLE] < ROOM_BYTES:
            raise errors.NoSpace(f"the copy {self._disk.volume} did not fit")
        raise errors.DriverError(f"the copy to {self._disk.volume} failed")

    def _distrust(self) -> errors.Busy:
        """End the mirror, of which nothing is noted any more: the next call begins anew."""
        self._domain.blockJobAbort(self._target, 0)
        _let_go_on(self._domain)
        return self._busy()

    def _busy(self) -> errors.Busy:
        return errors.Busy(f"somebody else moves a disk to {self._disk.volume}")


def _let_go_on(domain: libvirt.virDomain) -> None:
    """Where it was paused for the switch, it is not any more; nothing is noted of a move."""
    note = _note_of(domain)
    if note is None:
        return
    if note.stage is _Stage.SWITCHING and domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
        domain.resume()
    domain.setMetadata(_NOTE, None, "move", NAMESPACE, _LIVE)


def _end(connect: libvirt.virConnect, uuid: UUID, disk: DiskSpec) -> bool:
    domain, pool = lookup(connect, uuid), connect.storagePoolLookupByName(disk.pool)
    if _is_moved(connect, domain, disk):
        return True
    if domain.isActive():
        if domain.blockJobInfo(disk.target, 0):
            domain.blockJobAbort(disk.target, 0)
        _let_go_on(domain)
    upload.delete_with_marks(pool, disk.volume)
    return False


def _is_moved(connect: libvirt.virConnect, domain: libvirt.virDomain, disk: DiskSpec) -> bool:
    """Of one that is off, its definition tells."""
    if domain.isActive():
        return has(connect, live_disk(domain, disk.target), disk)
    root = fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))  # noqa: S314  libvirt's own
    return has(connect, root.find(f"devices/disk/target[@dev='{disk.target}']/.."), disk)
