"""Taking volumes out from below another one, without a change in what that reads as.

As in hosts.driver.kvm.copy a domain that is never let run has the volume as its disk, and its QEMU works by itself: it
copies what is read from below, and in the end writes down the new base. Whenever it dies, the volume stands on the old
one and is whole.
"""

from __future__ import annotations

from uuid import UUID

import libvirt

from hosts.driver import errors
from hosts.driver.kvm import upload
from hosts.driver.kvm.connection import Calls
from hosts.driver.kvm.copy import COPY_SECONDS, ROOM_BYTES, end_helper
from hosts.driver.kvm.domains import find
from hosts.driver.types import CopyFacts
from hosts.driver.xml import parse
from hosts.driver.xml.copy import TARGET, absorber_xml

_START = libvirt.VIR_DOMAIN_START_VALIDATE | libvirt.VIR_DOMAIN_START_PAUSED


class AbsorbCalls(Calls):
    def absorb(self, job: UUID, pool: str, name: str, base: str) -> CopyFacts:
        return self._connection.call(lambda connect: _absorb(connect, job, pool, name, base), seconds=COPY_SECONDS)

    def end_absorb(self, job: UUID) -> None:
        self._connection.call(lambda connect: end_helper(find(connect, job)), seconds=COPY_SECONDS)


def _absorb(connect: libvirt.virConnect, job: UUID, pool_name: str, name: str, base: str) -> CopyFacts:
    pool, domain = connect.storagePoolLookupByName(pool_name), find(connect, job)
    if domain is None:
        upload.refresh(pool)
        facts = parse.volume(pool.storageVolLookupByName(name).XMLDesc())
        if facts.backing == (base or None):
            return CopyFacts(facts.capacity_bytes, facts.capacity_bytes, True)
        path = pool.storageVolLookupByName(base).path() if base else None
        domain = connect.createXML(absorber_xml(job, pool_name, name), _START)
        try:
            domain.blockRebase(TARGET, path, 0, 0)
        except libvirt.libvirtError:
            end_helper(domain)
            raise
        return CopyFacts(0, facts.capacity_bytes, False, has_begun=True)
    if progress := domain.blockJobInfo(TARGET, 0):
        return CopyFacts(progress["cur"], max(progress["end"], 1), False)
    end_helper(domain)
    upload.refresh(pool)
    facts = parse.volume(pool.storageVolLookupByName(name).XMLDesc())
    if facts.backing == (base or None):
        return CopyFacts(facts.capacity_bytes, facts.capacity_bytes, True)
    if pool.info()[upload.AVAILABLE] < ROOM_BYTES:
        raise errors.NoSpace(f"what {name} stands on did not fit beside it")
    raise errors.DriverError(f"{name} did not take in what it stands on")
