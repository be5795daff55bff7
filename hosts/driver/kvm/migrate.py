"""Live migration, from libvirtd to libvirtd: both go on with it whatever becomes of whoever asked for it.

What was begun is noted in the running domain (its metadata, gone with its power), as no daemon remembers a migration
that failed. The call that migrates blocks until the end, on a connection of its own; nobody waits for it. It notes
itself why it failed, if its process lives as long.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar
from uuid import UUID
from xml.etree.ElementTree import Element, fromstring

import libvirt

from hosts.driver import errors
from hosts.driver.kvm.connection import Calls
from hosts.driver.kvm.domains import find, lookup
from hosts.driver.types import Arrival, Convergence, DomainSpec, Journey, MigrationFacts
from hosts.driver.xml.domain import domain_xml
from hosts.driver.xml.element import render
from hosts.driver.xml.migrate import destination_xml

T = TypeVar("T")
logger = logging.getLogger(__name__)
NAMESPACE = "urn:berth:migrate:1"
MIGRATE_SECONDS = 60.0
BEGIN_SECONDS = 2.0  # what is refused is refused by then
END_SECONDS = 3.0  # what is aborted is over by then, as a rule
POST_COPY_AFTER_PASSES = 2
TRIES, TRY_AGAIN_SECONDS = 5, 0.1
_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_NOTE = libvirt.VIR_DOMAIN_METADATA_ELEMENT
_STATS_OF_THE_LAST = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
_FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    # libvirt judges by the kind of file system; that both see the same storage has been proven by its token
    | libvirt.VIR_MIGRATE_UNSAFE
)
_CONVERGENCE = {
    Convergence.AUTO_CONVERGE: libvirt.VIR_MIGRATE_AUTO_CONVERGE,
    Convergence.POST_COPY: libvirt.VIR_MIGRATE_POSTCOPY,
}


class _Stage(StrEnum):
    PREPARING = "preparing"
    MIGRATING = "migrating"
    FAILED = "failed"


@dataclass(frozen=True)
class _Note:
    """`attempt` is the fencing number of who began it; `is_loaded`: the domain was off before."""

    stage: _Stage
    attempt: int
    is_loaded: bool = False
    error: str = ""

    def write(self, domain: libvirt.virDomain) -> None:
        facts = {"stage": str(self.stage), "attempt": str(self.attempt), "error": self.error}
        words = render(Element("migration", facts | ({"loaded": "yes"} if self.is_loaded else {})))
        domain.setMetadata(_NOTE, words, "migrate", NAMESPACE, _LIVE)

    @classmethod
    def of(cls, domain: libvirt.virDomain) -> _Note | None:
        try:
            root = fromstring(domain.metadata(_NOTE, NAMESPACE, _LIVE))  # noqa: S314  our own
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_METADATA:
                return None
            raise
        stage, attempt = _Stage(root.get("stage", "")), int(root.get("attempt", "0"))
        return cls(stage, attempt, root.get("loaded") == "yes", root.get("error", ""))


class MigrationCalls(Calls):
    def migrate(self, spec: DomainSpec, journey: Journey, prepare: Callable[[], None]) -> MigrationFacts:
        def look(connect: libvirt.virConnect) -> MigrationFacts | None:
            return _again(lambda: _look(connect, spec, journey))

        found = self._connection.call(look, seconds=MIGRATE_SECONDS)
        return found if found is not None else self._begin(spec, journey, prepare)

    def end_migration(self, uuid: UUID) -> bool:
        return self._connection.call(lambda connect: _again(lambda: _end(find(connect, uuid))), seconds=MIGRATE_SECONDS)

    def stay(self, uuid: UUID) -> None:
        self._connection.call(lambda connect: _again(lambda: _stay(find(connect, uuid))), seconds=MIGRATE_SECONDS)

    def arrival(self, uuid: UUID) -> Arrival | None:
        return self._connection.read(lambda connect: _arrival(lookup(connect, uuid)))

    def _begin(self, spec: DomainSpec, journey: Journey, prepare: Callable[[], None]) -> MigrationFacts:
        """Whoever notes last that it begins goes on; of two, the later attempt."""
        self._connection.call(lambda connect: _announce(connect, spec, journey), seconds=MIGRATE_SECONDS)
        prepare()
        session = self._connection.session()
        try:
            session.run(partial(_migrate, spec=spec, journey=journey), BEGIN_SECONDS)
        except errors.Timeout:
            return MigrationFacts(0, 0, False, has_begun=True)
        finally:
            session.drop()
        return MigrationFacts(0, 0, True, has_begun=True)


def _again(work: Callable[[], T]) -> T:
    """More than once where the domain goes between two of its calls: it has just arrived at the other host."""
    for _ in range(TRIES - 1):
        try:
            return work()
        except libvirt.libvirtError as error:
            if error.get_error_code() not in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
                raise
            time.sleep(TRY_AGAIN_SECONDS)
    return work()


def _look(connect: libvirt.virConnect, spec: DomainSpec, journey: Journey) -> MigrationFacts | None:
    """How far it is; None where it was not begun."""
    domain = find(connect, spec.uuid)
    if domain is None:
        return MigrationFacts(0, 0, True)
    if not domain.isActive():
        if domain.state()[1] == libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED:  # its definition is about to go as well
            return MigrationFacts(0, 0, True)
        if journey.is_off:
            return None
        raise errors.InvalidState(f"domain {spec.uuid} is off")
    if (job := _job(domain)) is not None:
        _hurry(domain, job, journey)
        return _so_far(job)
    note = _Note.of(domain)
    if note is None or note.stage is _Stage.PREPARING or _is_of_an_earlier_one(note, spec, domain):
        return None
    return MigrationFacts(0, 0, True, error=note.error)


def _is_of_an_earlier_one(note: _Note, spec: DomainSpec, domain: libvirt.virDomain) -> bool:
    """One that was cut off in its last moment is not begun again: it may run at the other host by now."""
    return note.attempt < spec.attempt and not _is_left_paused(domain)


def _job(domain: libvirt.virDomain) -> dict[str, Any] | None:
    """The migration that is under way."""
    job: dict[str, Any] = domain.jobStats()
    is_migration = job.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
    return job if is_migration and job.get("type") != libvirt.VIR_DOMAIN_JOB_NONE else None


def _so_far(job: dict[str, Any]) -> MigrationFacts:
    """Pages may be sent again and again, so what remains tells more than what was sent."""
    total = job.get("data_total", 0)
    return MigrationFacts(max(total - job.get("data_remaining", total), 0), total, False)


def _hurry(domain: libvirt.virDomain, job: dict[str, Any], journey: Journey) -> None:
    """All of the memory was sent, and what was written since twice: what is left is fetched by the guest itself."""
    if journey.convergence is Convergence.POST_COPY and job.get("memory_iteration", 0) > POST_COPY_AFTER_PASSES:
        try:
            domain.migrateStartPostCopy()
        except libvirt.libvirtError as error:  # it is done by now, or was switched already
            logger.info("%s goes on as it was: %s", domain.name(), error)


def _announce(connect: libvirt.virConnect, spec: DomainSpec, journey: Journey) -> None:
    domain = lookup(connect, spec.uuid)
    note = _Note.of(domain) if domain.isActive() else None
    if note is not None and note.attempt > spec.attempt:
        raise errors.Superseded(f"attempt {note.attempt} has begun to migrate {spec.name}")
    if journey.is_off and domain.isActive() and note is None:
        raise errors.InvalidState(f"domain {spec.uuid} is on")
    if not domain.isActive():
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    _Note(_Stage.PREPARING, spec.attempt, journey.is_off).write(domain)
    _forget_checkpoints(domain)


def _forget_checkpoints(domain: libvirt.virDomain) -> None:
    """libvirt migrates no domain that has any. The next backup is a full one."""
    for checkpoint in domain.listAllCheckpoints():
        checkpoint.delete()


def _migrate(connect: libvirt.virConnect, *, spec: DomainSpec, journey: Journey) -> None:
    """Blocks until it is over."""
    domain = lookup(connect, spec.uuid)
    note = _Note.of(domain)
    if note is None or (note.stage, note.attempt) != (_Stage.PREPARING, spec.attempt):
        raise errors.Busy(f"somebody else migrates {spec.name}")
    parameters = _parameters(domain, spec, journey)
    note = replace(note, stage=_Stage.MIGRATING)
    note.write(domain)
    try:
        domain.migrateToURI3(journey.uri, parameters, _flags(journey))
    except libvirt.libvirtError as error:
        with suppress(libvirt.libvirtError):  # its host is gone, or it runs there after all
            if _Note.of(domain) == note:  # nobody has settled it since
                replace(note, stage=_Stage.FAILED, error=str(error)[:500]).write(domain)
        raise


def _flags(journey: Journey) -> int:
    copying = libvirt.VIR_MIGRATE_NON_SHARED_DISK if journey.copied else 0
    return int(_FLAGS | copying | _CONVERGENCE[journey.convergence])


def _parameters(domain: libvirt.virDomain, spec: DomainSpec, journey: Journey) -> dict[str, Any]:
    running = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE)
    found: dict[str, Any] = {
        libvirt.VIR_MIGRATE_PARAM_DEST_XML: destination_xml(running, spec),
        libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: domain_xml(spec),
    }
    if journey.copied:
        found[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = list(journey.copied)
    if journey.mib_per_second:
        found[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = journey.mib_per_second
        if journey.convergence is Convergence.POST_COPY:  # the one before does not bind after the switch
            found[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY] = journey.mib_per_second
    return found


def _end(domain: libvirt.virDomain | None) -> bool:
    """QEMU may still finish after an abort was accepted, so nothing counts but that the job is gone."""
    if domain is None or not domain.isActive() or _job(domain) is None:
        return True
    try:
        domain.abortJob()
    except libvirt.libvirtError as error:  # it ended by itself, or is past return
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
            raise
    until = time.monotonic() + END_SECONDS
    while _job(domain) is not None:
        if time.monotonic() > until:
            return False
        time.sleep(TRY_AGAIN_SECONDS)
    return True


def _stay(domain: libvirt.virDomain | None) -> None:
    if domain is None or not domain.isActive() or (note := _Note.of(domain)) is None:
        return
    if _job(domain) is not None:
        raise errors.Busy("its migration is not over yet")
    if note.is_loaded:
        domain.destroy()
        return
    if _is_left_paused(domain):
        domain.resume()
    domain.setMetadata(_NOTE, None, "migrate", NAMESPACE, _LIVE)


def _is_left_paused(domain: libvirt.virDomain) -> bool:
    """By a migration that was cut off in its last moment; one that its owner paused stays so."""
    return list(domain.state()) == [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION]


def _arrival(domain: libvirt.virDomain) -> Arrival | None:
    try:
        cost = domain.jobStats(_STATS_OF_THE_LAST)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
            return None
        raise
    if cost.get("operation") != libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN:
        return None
    return Arrival(cost.get("downtime", 0), cost.get("time_elapsed", 0), cost.get("data_processed", 0))
