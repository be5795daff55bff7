"""Copies of volumes by QEMU's block jobs: they tell how far they are, can be stopped, and outlive whoever asked.

libvirt's own copy of a volume can neither be watched nor stopped. So a domain that is never let run (transient, paused)
has the source as its disk, and mirrors it. Its description is its journal.

The new volume is unfinished, by a mark as in hosts.driver.kvm.upload, until the last step. There is one domain for each
job, so of two callers one makes it; only that one prepares the volume, and only while the domain has its mark. A later
attempt takes over from one that was left while it prepared. Where somebody has ended the domain, or its QEMU has died,
it is not there, and the next call begins anew; `has_begun` lets the caller count that.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

import libvirt

from hosts.driver import errors
from hosts.driver.kvm import upload
from hosts.driver.kvm.connection import Calls
from hosts.driver.kvm.domains import find
from hosts.driver.kvm.errors import translate
from hosts.driver.types import CopyFacts, VolumeFacts
from hosts.driver.xml import parse
from hosts.driver.xml.copy import TARGET, copier_xml, copy_target_xml
from hosts.driver.xml.volume import volume_xml

COPY_SECONDS = 60.0  # QEMU is started, or writes down what it still holds
ROOM_BYTES = 16 << 20  # of one write of the job: with less, the pool was what failed it
_START = libvirt.VIR_DOMAIN_START_VALIDATE | libvirt.VIR_DOMAIN_START_PAUSED
_COPY = libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
# what libvirt says where another caller was faster between two calls of this one
_OVERTAKEN = frozenset(
    {libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_STORAGE_VOL_EXIST, libvirt.VIR_ERR_OPERATION_INVALID}
)
# and where a QEMU was ended, or has died, while it started: it has no code for that
_DIED = (" monitor", "guest unexpectedly quit")
# Of QEMU's job: large pieces, as many at once as ROOM_BYTES. Tests add a bandwidth, to make it slow.
PARAMETERS: dict[str, int] = {"granularity": 1 << 20, "buf-size": ROOM_BYTES}
_DESCRIPTION = libvirt.VIR_DOMAIN_METADATA_DESCRIPTION
logger = logging.getLogger(__name__)


class _Stage(StrEnum):
    """ARRIVED: all of it is there, and only the closing is left."""

    PREPARING = "preparing"
    COPYING = "copying"
    ARRIVED = "arrived"


@dataclass(frozen=True)
class _Journal:
    """What the domain's description says. `attempt` is the fencing number of the caller that made the domain."""

    stage: _Stage
    attempt: int
    mark: str

    def __str__(self) -> str:
        return f"{self.stage} {self.attempt} {self.mark}"

    @classmethod
    def of(cls, domain: libvirt.virDomain) -> _Journal:
        words = domain.metadata(_DESCRIPTION, None, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        stage, attempt, mark = words.split(" ", 2)
        return cls(_Stage(stage), int(attempt), mark)

    def note(self, domain: libvirt.virDomain, stage: _Stage) -> None:
        if stage is not self.stage:
            words = str(replace(self, stage=stage))
            domain.setMetadata(_DESCRIPTION, words, None, None, libvirt.VIR_DOMAIN_AFFECT_LIVE)


class CopyCalls(Calls):
    def copy_volume(
        self, job: UUID, attempt: int, pool: str, source: str, name: str, *, into: str | None = None
    ) -> CopyFacts:
        def copy(connect: libvirt.virConnect) -> CopyFacts:
            return _Copy(connect, job, attempt, (pool, source), (into or pool, name)).go_on()

        return self._connection.call(copy, seconds=COPY_SECONDS)

    def end_copy(self, job: UUID) -> None:
        self._connection.call(lambda connect: end_helper(find(connect, job)), seconds=COPY_SECONDS)


class _Copy:
    """Of the volume `source` to the volume `target`, each a pool's name and its own."""

    def __init__(
        self, connect: libvirt.virConnect, job: UUID, attempt: int, source: tuple[str, str], target: tuple[str, str]
    ) -> None:
        self._connect, self._job, self._attempt = connect, job, attempt
        self._source_pool, self._source = connect.storagePoolLookupByName(source[0]), source[1]
        self._pool, self._name = connect.storagePoolLookupByName(target[0]), target[1]
        self._domain: libvirt.virDomain | None = None  # once it was found or made

    def go_on(self) -> CopyFacts:
        try:
            return self._go_on()
        except libvirt.libvirtError as error:
            self._require_pools()
            if error.get_error_code() not in _OVERTAKEN and (self._domain is None or _is_alive(self._domain)):
                raise
            raise self._busy() from error

    def _require_pools(self) -> None:
        for pool in (self._source_pool, self._pool):
            if not pool.isActive():
                raise errors.InvalidState(f"pool {pool.name()} is not active")

    def _go_on(self) -> CopyFacts:
        domain = self._domain = find(self._connect, self._job)
        if domain is None:
            return self._complete() if self._is_there() else self._begin()
        journal, job = _Journal.of(domain), domain.blockJobInfo(TARGET, 0)
        if journal.stage is _Stage.PREPARING and not job:
            if journal.attempt < self._attempt:  # whoever made it is gone, or may no longer
                end_helper(domain)
            raise self._busy()
        if journal.stage is _Stage.COPYING and not job:
            raise self._failure(domain)
        if journal.stage is not _Stage.ARRIVED and not is_in_step(job):
            journal.note(domain, _Stage.COPYING)
            return self._so_far(job)
        return self._close(domain, journal, bool(job))

    def _begin(self) -> CopyFacts:
        """Only who makes the domain goes on; once the new volume is made, it is unfinished until the end."""
        size = _facts(self._source_pool, self._source).capacity_bytes
        journal = _Journal(_Stage.PREPARING, self._attempt, upload.new_mark(self._name))
        try:
            xml = copier_xml(self._job, self._source_pool.name(), self._source, str(journal))
            domain = self._domain = self._connect.createXML(xml, _START)
        except libvirt.libvirtError as error:
            if find(self._connect, self._job) is not None:
                raise self._busy() from error
            if not _has_died(error):
                raise
            return self._begun(size, error)
        if self._is_there():  # others have made it while this call was on its way to the host
            end_helper(domain)
            return self._complete()
        target = self._make_target(domain, journal, size)
        try:
            domain.blockCopy(TARGET, copy_target_xml(target.path()), PARAMETERS, _COPY)
            journal.note(domain, _Stage.COPYING)
        except libvirt.libvirtError as error:
            has_died = not _is_alive(domain)
            end_helper(domain)
            if not has_died:
                raise
            return self._begun(size, error)
        return self._begun(size)

    def _begun(self, size: int, error: libvirt.libvirtError | None = None) -> CopyFacts:
        """With an `error` its QEMU is gone already: the next look finds no domain, and begins anew."""
        if error is not None:
            logger.warning("copier %s has died at its beginning: %s", self._job, error)
        return CopyFacts(0, size, False, has_begun=True)

    def _make_target(self, domain: libvirt.virDomain, journal: _Journal, size: int) -> libvirt.virStorageVol:
        self._pool.createXML(volume_xml(journal.mark, "raw", 0))
        try:
            self._clear(domain, journal)
            return self._pool.createXML(volume_xml(self._name, "qcow2", size))
        except (libvirt.libvirtError, errors.Busy):
            upload.delete_one(self._pool, journal.mark)
            raise

    def _clear(self, domain: libvirt.virDomain, journal: _Journal) -> None:
        """What an earlier try has left, if the domain is still this caller's: a paused one may find another's."""
        names = upload.names_in(self._pool)
        for left in [self._name, *upload.marks_of(self._name, names)]:
            if left in names and left != journal.mark:
                if _Journal.of(domain) != journal:
                    raise self._busy()
                upload.delete_one(self._pool, left)

    def _close(self, domain: libvirt.virDomain, journal: _Journal, has_job: bool) -> CopyFacts:
        """Nobody writes to the source, so what has arrived stays all. The job's end flushes what QEMU still holds."""
        journal.note(domain, _Stage.ARRIVED)
        if has_job:
            domain.blockJobAbort(TARGET, 0)
        if set(upload.marks_of(self._name, upload.names_in(self._pool))) - {journal.mark}:
            end_helper(domain)
            raise self._busy()
        upload.delete_one(self._pool, journal.mark)
        end_helper(domain)
        return self._complete()

    def _is_there(self) -> bool:
        names = upload.names_in(self._pool)
        return self._name in names and upload.is_whole(self._name, names)

    def _so_far(self, job: dict[str, int]) -> CopyFacts:
        """QEMU first looks what there is to copy, and libvirt says "0 of 1" meanwhile."""
        if job["end"] <= 1:
            return CopyFacts(0, _facts(self._source_pool, self._source).capacity_bytes, False)
        return CopyFacts(job["cur"], job["end"], False)

    def _complete(self) -> CopyFacts:
        made, source = _facts(self._pool, self._name), _facts(self._source_pool, self._source)
        if (made.format, made.backing) != ("qcow2", None) or made.capacity_bytes < source.capacity_bytes:
            raise errors.AlreadyExists(f"volume {self._name} is there, and no copy of {self._source}")
        return CopyFacts(made.capacity_bytes, made.capacity_bytes, True)

    def _busy(self) -> errors.Busy:
        return errors.Busy(f"somebody else copies to {self._name}")

    def _failure(self, domain: libvirt.virDomain) -> errors.DriverError:
        """QEMU tells nobody who asks afterwards why a job failed."""
        end_helper(domain)
        upload.refresh(self._pool)
        if self._pool.info()[upload.AVAILABLE] < ROOM_BYTES:
            return errors.NoSpace(f"the copy {self._name} did not fit")
        return errors.DriverError(f"the copy of {self._source} to {self._name} failed")


def _has_died(error: libvirt.libvirtError) -> bool:
    """Where QEMU's last words came too, such as of a lock it did not get, these say more."""
    return type(translate(error)) is errors.DriverError and any(part in str(error) for part in _DIED)


def _is_alive(domain: libvirt.virDomain) -> bool:
    """libvirt takes a moment to see that a QEMU is gone, and tells that in many ways: so by a question to it."""
    try:
        domain.blockInfo(TARGET)
    except libvirt.libvirtError:
        return False
    return True


def _facts(pool: libvirt.virStoragePool, name: str) -> VolumeFacts:
    return parse.volume(pool.storageVolLookupByName(name).XMLDesc())


def is_in_step(job: dict[str, int]) -> bool:
    """Whether the copy has all that the source has. libvirt says so only when QEMU does."""
    return bool(job["end"]) and job["cur"] == job["end"]


def end_helper(domain: libvirt.virDomain | None) -> None:
    """A transient domain is gone with its power."""
    try:
        if domain is not None:
            domain.destroy()
    except libvirt.libvirtError as error:
        if error.get_error_code() not in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
            raise
