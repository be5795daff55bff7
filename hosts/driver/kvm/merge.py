"""Two layers of a disk become one, by QEMU's block jobs: on the domain that runs on them, or by a helper beside it.

Either the child is written down into its layer (commit: the layer's file stays), or what the layer has is drawn up into
the child (pull: the child's file stays). The chain that QEMU has open tells what is done; a job that was lost leaves
both files whole in the sense that the child still reads the same, so it is begun anew.

Where the guest itself writes to the child, a commit ends by switching it to the layer. It stands still for that moment:
were its power cut before the definition names the layer, both files would say the same.
"""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

import libvirt

from hosts.driver import errors
from hosts.driver.kvm import upload
from hosts.driver.kvm.connection import Calls
from hosts.driver.kvm.copy import ROOM_BYTES, end_helper
from hosts.driver.kvm.domains import find
from hosts.driver.types import Merge, MergeFacts, VolumeFacts
from hosts.driver.xml import parse
from hosts.driver.xml.chain import Link, chain_of
from hosts.driver.xml.copy import TARGET
from hosts.driver.xml.layers import merger_xml

MERGE_SECONDS = 60.0  # QEMU is started, or writes down what it still holds
_START = libvirt.VIR_DOMAIN_START_VALIDATE | libvirt.VIR_DOMAIN_START_PAUSED
_ACTIVE_COMMIT = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE
_PIVOT = libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT


class _Way(StrEnum):
    COMMIT = "commit"
    PULL = "pull"


class MergeCalls(Calls):
    def merge(self, job: UUID, merge: Merge, *, may_switch: bool) -> MergeFacts:
        return self._connection.call(
            lambda connect: _Merging(connect, job, merge, may_switch).go_on(), seconds=MERGE_SECONDS
        )

    def end_merge(self, job: UUID, merge: Merge, *, may_switch: bool) -> str | None:
        return self._connection.call(
            lambda connect: _Merging(connect, job, merge, may_switch).stop(), seconds=MERGE_SECONDS
        )


class _Merging:
    def __init__(self, connect: libvirt.virConnect, job: UUID, merge: Merge, may_switch: bool) -> None:
        self._connect, self._job, self._merge, self._may_switch = connect, job, merge, may_switch
        self._pool = connect.storagePoolLookupByName(merge.pool)

    def go_on(self) -> MergeFacts:
        guest = _running(self._connect, self._merge)
        if guest is not None:
            return self._on(guest, self._merge.target)
        domain = find(self._connect, self._job)
        if domain is None:
            kept = self._settled()
            if kept is not None:
                return self._complete(kept)
            domain = self._new_helper()
        facts = self._on(domain, TARGET)
        if facts.kept is not None:
            end_helper(domain)
        return facts

    def stop(self) -> str | None:
        """Which volume remains where it was done; None where both stay."""
        end_helper(find(self._connect, self._job))
        guest = _running(self._connect, self._merge)
        if guest is None:
            return self._settled()
        _abort(guest, self._merge.target)
        _let_run(guest, self._merge)
        return self._remaining(chain_of(guest.XMLDesc(), self._merge.target))

    def _remaining(self, chain: list[Link]) -> str | None:
        """The only one of both in the chain that a domain has open; None where both are."""
        names = {link.volume for link in chain}
        if {self._merge.child, self._merge.layer} <= names:
            return None
        return self._merge.child if self._merge.child in names else self._merge.layer

    # -- on a domain that has the chain open -----------------------------------------------------------------------

    def _on(self, domain: libvirt.virDomain, target: str) -> MergeFacts:
        job = domain.blockJobInfo(target, 0)  # first: one that ends after the chain was read would look as if lost
        chain = chain_of(domain.XMLDesc(), target)
        kept = self._remaining(chain)
        if kept is not None:
            _let_run(domain, self._merge)
            return self._complete(kept)
        if not job:
            return self._begin(domain, target, chain)
        if job["type"] != libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT or job["cur"] != job["end"]:
            return MergeFacts(job["cur"], job["end"])
        if not self._may_switch:
            return MergeFacts(job["cur"], job["end"], is_ready=True)
        self._switch(domain, target)
        return self._complete(self._merge.layer)

    def _switch(self, domain: libvirt.virDomain, target: str) -> None:
        if domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING:
            domain.suspend()
        try:
            domain.blockJobAbort(target, _PIVOT)
        finally:  # switched or not, its guest goes on
            _let_run(domain, self._merge)

    def _begin(self, domain: libvirt.virDomain, target: str, chain: list[Link]) -> MergeFacts:
        way = self._way(chain)
        self._has_room()
        at = [link.volume for link in chain].index(self._merge.child)
        layer, child = chain[at + 1], chain[at]
        if layer.volume != self._merge.layer:
            raise errors.CannotMerge(f"{child.volume} stands on {layer.volume}, not on {self._merge.layer}")
        try:
            if way is _Way.PULL:
                below = f"{target}[{chain[at + 2].index}]" if len(chain) > at + 2 else None
                domain.blockRebase(target, below, 0, 0)
            elif at == 0:
                domain.blockCommit(target, f"{target}[{layer.index}]", None, 0, _ACTIVE_COMMIT)
            else:
                domain.blockCommit(target, f"{target}[{layer.index}]", f"{target}[{child.index}]", 0, 0)
        except libvirt.libvirtError as error:
            if domain.blockJobInfo(target, 0):
                raise errors.Busy("another call has begun the merge") from error
            raise
        return MergeFacts(0, self._facts(self._merge.child).capacity_bytes, has_begun=True)

    def _way(self, chain: list[Link]) -> _Way:
        """The one that moves less, of those that this chain allows."""
        is_top = chain[0].volume == self._merge.child
        ways = set()
        if is_top and self._merge.keep in (None, self._merge.child):
            ways.add(_Way.PULL)
        if not is_top or not self._merge.heirs:
            ways.add(_Way.COMMIT)
        return self._cheaper(ways & self._possible())

    def _possible(self) -> set[_Way]:
        """Of several that stand on the child none but the one in this chain could be told of another file."""
        ways = {_Way.PULL, _Way.COMMIT} if len(self._merge.heirs) < 2 else {_Way.PULL}
        wanted = {self._merge.child: _Way.PULL, self._merge.layer: _Way.COMMIT}
        return ways & {wanted[self._merge.keep]} if self._merge.keep else ways

    def _cheaper(self, ways: set[_Way]) -> _Way:
        if not ways:
            raise errors.CannotMerge(f"{self._merge.layer} cannot be merged with {self._merge.child} as things are")
        if len(ways) == 1:
            return ways.pop()
        above, below = (self._facts(name).allocation_bytes for name in (self._merge.child, self._merge.layer))
        return _Way.COMMIT if above <= below else _Way.PULL

    # -- beside it -------------------------------------------------------------------------------------------------

    def _settled(self) -> str | None:
        """What an earlier call has done, by the files: nobody runs on them."""
        upload.refresh(self._pool)
        names = upload.names_in(self._pool)
        layer, child = self._merge.layer, self._merge.child
        if layer not in names:
            return self._facts(child).name
        if child not in names:
            return layer
        if self._facts(child).backing != layer:
            return child
        if any(self._facts(heir).backing == layer for heir in self._heirs()):
            return layer
        return layer if self._may_switch and self._is_defined_on_layer() else None

    def _heirs(self) -> list[str]:
        """Those that are there: one may be about to be made."""
        names = upload.names_in(self._pool)
        return [heir for heir in self._merge.heirs if heir in names]

    def _is_defined_on_layer(self) -> bool:
        """libvirt names the layer in the definition once it has switched the guest."""
        domain = find(self._connect, self._merge.domain)
        if domain is None:
            return False
        chain = chain_of(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), self._merge.target)
        return bool(chain) and chain[0].volume == self._merge.layer

    def _new_helper(self) -> libvirt.virDomain:
        way = self._cheaper(self._possible())
        heirs = self._heirs()
        top = heirs[0] if way is _Way.COMMIT and heirs else self._merge.child
        try:
            return self._connect.createXML(merger_xml(self._job, self._merge.pool, top), _START)
        except libvirt.libvirtError as error:
            if find(self._connect, self._job) is None:
                raise
            raise errors.Busy("another call has begun the merge") from error

    # -- both ------------------------------------------------------------------------------------------------------

    def _has_room(self) -> None:
        """A merge that has no room fails without telling anybody, and leaves both volumes as they were."""
        upload.refresh(self._pool)
        if self._pool.info()[upload.AVAILABLE] < ROOM_BYTES:
            end_helper(find(self._connect, self._job))
            raise errors.NoSpace(f"no room to merge {self._merge.layer} with {self._merge.child}")

    def _complete(self, kept: str) -> MergeFacts:
        size = self._facts(kept).capacity_bytes
        return MergeFacts(size, size, kept)

    def _facts(self, name: str) -> VolumeFacts:
        return parse.volume(self._pool.storageVolLookupByName(name).XMLDesc())


def _running(connect: libvirt.virConnect, merge: Merge) -> libvirt.virDomain | None:
    """The domain, where it has one of both volumes open."""
    domain = find(connect, merge.domain)
    if domain is None or not domain.isActive():
        return None
    names = {link.volume for link in chain_of(domain.XMLDesc(), merge.target)}
    return domain if names & {merge.layer, merge.child} else None


def _abort(domain: libvirt.virDomain, target: str) -> None:
    try:
        domain.blockJobAbort(target, 0)
    except libvirt.libvirtError:
        if domain.blockJobInfo(target, 0):
            raise


def _let_run(domain: libvirt.virDomain, merge: Merge) -> None:
    """It stood still for the switch; a helper never runs."""
    if merge.is_to_run and domain.UUIDString() == str(merge.domain) and domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
        domain.resume()
