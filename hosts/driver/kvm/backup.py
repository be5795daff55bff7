"""Backups by QEMU's own jobs: they go on by themselves, and tell how far they are.

A backup's volumes are made beforehand and unfinished, by marks as in hosts.driver.kvm.upload, until libvirt has said
that the job succeeded. That it says once and forgets with its process; what it did not say was not, and begins anew.

Where QEMU counts changes (dirty bitmaps, kept in the qcow2 files) libvirt knows them as checkpoints. It refuses to read
changes alone where the count has a gap: QEMU was killed, or the disk is another file than the one that was counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID

import libvirt

from hosts.driver import errors
from hosts.driver.kvm import upload
from hosts.driver.kvm.connection import Calls
from hosts.driver.kvm.domains import find, lookup
from hosts.driver.kvm.freeze import FROZEN_SECONDS, frozen, thaw
from hosts.driver.types import BackupDiskSpec, BackupFacts, BackupSpec, Consistency
from hosts.driver.xml.backup import backup_xml, checkpoint_xml, consistency_of, written_volumes
from hosts.driver.xml.volume import volume_xml

T = TypeVar("T")

BACKUP_SECONDS = 90.0  # QEMU starts, the agent answers, the job begins
SILENT_MS = 20_000  # a job without figures for so long was lost with an earlier run of libvirtd
SETTLE_SECONDS = 10.0
_ALL_DISKS_AT_ONCE = libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL
_COMPLETED = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED
_LOST = {
    libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT: "the host keeps no count of changes since the last backup",
    libvirt.VIR_ERR_CHECKPOINT_INCONSISTENT: "the count of changes since the last backup has a gap",
}
_OLD_FORMAT = "in qcow2 v2 files"  # QEMU cannot keep a count in these
_CAPACITY = 0  # index into what blockInfo returns


class BackupCalls(Calls):
    def back_up(self, uuid: UUID, spec: BackupSpec) -> BackupFacts:
        return self._on_own(lambda connect: _Backup(connect, self.uri, lookup(connect, uuid), spec).go_on())

    def end_backup(self, uuid: UUID, spec: BackupSpec) -> None:
        self._on_own(lambda connect: _end(connect, self.uri, uuid, spec))

    def thaw(self, uuid: UUID) -> None:
        def let_write(connect: libvirt.virConnect) -> None:
            domain = find(connect, uuid)
            if domain is not None:
                thaw(domain)

        self._on_own(let_write)

    def checkpoints(self, uuid: UUID) -> frozenset[str]:
        def names(connect: libvirt.virConnect) -> frozenset[str]:
            domain = find(connect, uuid)
            return frozenset(each.getName() for each in domain.listAllCheckpoints()) if domain else frozenset()

        return self._connection.read(names)

    def _on_own(self, work: Callable[[libvirt.virConnect], T]) -> T:
        """On a connection of its own: a guest's agent that does not answer keeps nobody else waiting."""
        session = self._connection.session()
        try:
            return session.run(work, BACKUP_SECONDS)
        finally:
            session.drop()


class _Backup:
    def __init__(self, connect: libvirt.virConnect, uri: str, domain: libvirt.virDomain, spec: BackupSpec) -> None:
        self._connect, self._uri, self._domain, self._spec = connect, uri, domain, spec
        self._pool = connect.storagePoolLookupByName(spec.pool)
        self._names = [disk.name for disk in spec.disks]

    def go_on(self) -> BackupFacts:
        if (written := _written(self._domain)) is not None:
            if written != frozenset(self._names):
                raise errors.Busy("another backup of the domain is under way")
            return self._progress()
        upload.refresh(self._pool)  # another host may have written there
        names = upload.names_in(self._pool)
        if all(name in names and upload.is_whole(name, names) for name in self._names):
            return self._complete()
        outcome = _outcome(self._domain)
        is_of_these = any(upload.marks_of(name, names) for name in self._names)
        if outcome is None or not is_of_these or outcome["type"] == libvirt.VIR_DOMAIN_JOB_CANCELLED:
            return self._begin()
        return self._close(outcome) if outcome.get("success") else self._fail(outcome)

    def stop(self) -> None:
        """As if it had never begun."""
        if _written(self._domain) == frozenset(self._names):
            self._abort()
        if self._domain.isActive():
            _delete_checkpoint(self._domain, self._spec.checkpoint)
        for name in self._names:
            upload.delete_with_marks(self._pool, name)
        self._power_off()

    def _progress(self) -> BackupFacts:
        job = self._domain.jobStats()
        if "disk_total" not in job and job.get("time_elapsed", 0) > SILENT_MS:
            self._abort()  # without a word of success, so the next call begins anew
        done, total = job.get("disk_processed", 0), job.get("disk_total", 0)
        return BackupFacts(done, total, False, *self._kept())

    def _begin(self) -> BackupFacts:
        if self._spec.since and not _has_checkpoint(self._domain, self._spec.since):
            raise errors.CheckpointLost(_LOST[libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT])
        for name in self._names:
            upload.delete_with_marks(self._pool, name)
        if self._spec.is_off and not self._domain.isActive():
            self._domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        _delete_checkpoint(self._domain, self._spec.checkpoint)
        _outcome(self._domain, forget=True)
        try:
            paths = {disk.target: self._make(disk) for disk in self._spec.disks}
            return self._begin_job(backup_xml(self._spec, paths))
        except libvirt.libvirtError as error:
            self.stop()
            if words := _LOST.get(error.get_error_code() or 0):
                raise errors.CheckpointLost(words) from error
            raise

    def _begin_job(self, xml: str) -> BackupFacts:
        with frozen(self._uri, self._domain) as is_frozen:
            frozen_at = time.monotonic()
            running = Consistency.FROZEN if is_frozen else Consistency.CRASH
            consistency = Consistency.OFF if self._is_own() else running
            counts_changes = self._ask(xml, checkpoint_xml(self._spec, consistency))
            is_late = is_frozen and time.monotonic() - frozen_at > FROZEN_SECONDS - 1
        if is_late:  # the guard may have thawed the guest before the job began
            self.stop()
            raise errors.Busy("the host took too long to begin")
        return BackupFacts(0, 0, False, consistency, counts_changes, has_begun=True)

    def _ask(self, xml: str, checkpoint: str) -> bool:
        """Whether changes are counted from here."""
        try:
            self._domain.backupBegin(xml, checkpoint, _ALL_DISKS_AT_ONCE)
        except libvirt.libvirtError as error:
            if _OLD_FORMAT not in str(error):
                raise
            self._domain.backupBegin(xml, None, _ALL_DISKS_AT_ONCE)
            return False
        return True

    def _make(self, disk: BackupDiskSpec) -> str:
        """The path of a new volume, as large as the disk is now."""
        self._pool.createXML(volume_xml(upload.new_mark(disk.name), "raw", 0))
        parent = self._pool.storageVolLookupByName(disk.parent).path() if disk.parent else None
        size = self._domain.blockInfo(disk.target)[_CAPACITY]
        return str(self._pool.createXML(volume_xml(disk.name, "qcow2", size, parent)).path())

    def _fail(self, outcome: dict[str, Any]) -> BackupFacts:
        words = str(outcome.get("errmsg") or "the job failed")
        _outcome(self._domain, forget=True)
        self.stop()
        raise (errors.NoSpace if "No space" in words else errors.DriverError)(words)

    def _close(self, outcome: dict[str, Any]) -> BackupFacts:
        self._wait_for_files()
        for name in self._names:
            for mark in upload.marks_of(name, upload.names_in(self._pool)):
                upload.delete_one(self._pool, mark)
        return self._complete(read=outcome.get("disk_total", 0))

    def _wait_for_files(self) -> None:
        """libvirt says that a job has ended before QEMU has let go of its files; a question waits behind that."""
        with suppress(libvirt.libvirtError):  # QEMU has ended itself
            self._domain.blockInfo(self._spec.disks[0].target)

    def _complete(self, read: int = 0) -> BackupFacts:
        """`read` is what its job has read in all, where libvirt has just told that."""
        consistency, counts_changes = self._kept()
        if self._domain.isActive():
            for checkpoint in self._domain.listAllCheckpoints():
                if checkpoint.getName() not in (self._spec.checkpoint, *self._spec.keep):
                    _delete(checkpoint)
        self._power_off()
        return BackupFacts(read, read, True, consistency, counts_changes)

    def _kept(self) -> tuple[Consistency, bool]:
        """What the checkpoint says; without one nobody remembers how the guest was, so nothing is promised."""
        if _has_checkpoint(self._domain, self._spec.checkpoint):
            return consistency_of(self._domain.checkpointLookupByName(self._spec.checkpoint).getXMLDesc()), True
        return Consistency.OFF if self._spec.is_off else Consistency.CRASH, False

    def _is_own(self) -> bool:
        return self._spec.is_off and self._domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED

    def _power_off(self) -> None:
        """QEMU writes its counts down as it ends."""
        if self._is_own():
            with suppress(libvirt.libvirtError):  # it has just ended
                self._domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)

    def _abort(self) -> None:
        """libvirt lets go of the files when QEMU has."""
        with suppress(libvirt.libvirtError):  # it has just ended
            self._domain.abortJob()
        until = time.monotonic() + SETTLE_SECONDS
        while _written(self._domain) is not None and time.monotonic() < until:
            time.sleep(0.1)


def _end(connect: libvirt.virConnect, uri: str, uuid: UUID, spec: BackupSpec) -> None:
    domain = find(connect, uuid)
    if domain is not None:
        thaw(domain)
        _Backup(connect, uri, domain, spec).stop()
        return
    for disk in spec.disks:
        upload.delete_with_marks(connect.storagePoolLookupByName(spec.pool), disk.name)


def _written(domain: libvirt.virDomain) -> frozenset[str] | None:
    """The volumes that a running backup writes; None where none is under way."""
    try:
        return written_volumes(domain.backupGetXMLDesc())
    except libvirt.libvirtError as error:
        if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN_BACKUP, libvirt.VIR_ERR_OPERATION_INVALID):
            return None
        raise


def _outcome(domain: libvirt.virDomain, *, forget: bool = False) -> dict[str, Any] | None:
    """What libvirt says of the domain's last job, if that was a backup."""
    keep = 0 if forget else libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
    try:
        found: dict[str, Any] = domain.jobStats(_COMPLETED | keep)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
            return None
        raise
    return found if found.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP else None


def _has_checkpoint(domain: libvirt.virDomain, name: str) -> bool:
    return any(each.getName() == name for each in domain.listAllCheckpoints())


def _delete_checkpoint(domain: libvirt.virDomain, name: str) -> None:
    """libvirt adds its count to that of the one before. It can do so only in a QEMU that runs."""
    if _has_checkpoint(domain, name):
        _delete(domain.checkpointLookupByName(name))


def _delete(checkpoint: libvirt.virDomainCheckpoint) -> None:
    """Where its counts went with a disk that was replaced, there is nothing left but what libvirt knows of it."""
    try:
        checkpoint.delete()
    except libvirt.libvirtError:
        checkpoint.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
