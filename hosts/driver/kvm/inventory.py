"""Everything that a host has of ours and of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import libvirt

from hosts.driver import errors
from hosts.driver.kvm.connection import Calls
from hosts.driver.kvm.domains import power_state, stop_reason
from hosts.driver.kvm.errors import translate
from hosts.driver.kvm.upload import is_whole, named, refresh_if_idle, unfinished_in
from hosts.driver.types import DomainFacts, Inventory, PoolContents, VolumeFacts
from hosts.driver.xml import parse

INVENTORY_SECONDS = 30.0  # libvirt opens each volume of the pool

T = TypeVar("T")


class InventoryCalls(Calls):
    def inventory(self, pools: Sequence[str], network: str) -> Inventory:
        session = self._connection.session()
        try:
            return session.run(lambda connect: _inventory(connect, pools, network), INVENTORY_SECONDS)
        finally:
            session.drop()


def _inventory(connect: libvirt.virConnect, pools: Sequence[str], network: str) -> Inventory:
    contents = {name: _contents(connect, name) for name in pools}
    return Inventory(_domains(connect), contents, _dhcp_hosts(connect, network))


def _domains(connect: libvirt.virConnect) -> tuple[DomainFacts, ...]:
    pools = _pool_paths(connect)
    found = (_unless_gone(partial(_domain, domain, pools)) for domain in connect.listAllDomains())
    return tuple(facts for facts in found if facts)


def _pool_paths(connect: libvirt.virConnect) -> dict[str, str]:
    """Names of pools by their directory."""
    found = {}
    for pool in connect.listAllStoragePools():
        if xml := _unless_gone(pool.XMLDesc):
            found[parse.pool_path(xml)] = pool.name()
    return found


def _domain(domain: libvirt.virDomain, pools: Mapping[str, str]) -> DomainFacts:
    state, reason = domain.state()
    flags = libvirt.VIR_DOMAIN_XML_INACTIVE if domain.isPersistent() else 0
    running = domain.XMLDesc() if domain.isActive() else None
    return parse.domain(domain.XMLDesc(flags), power_state(state, reason), stop_reason(state, reason), running, pools)


def _unless_gone(read: Callable[[], T]) -> T | None:
    """None for what was removed since the list was made."""
    try:
        return read()
    except libvirt.libvirtError as error:
        if isinstance(translate(error), errors.NotFound):
            return None
        raise


def _contents(connect: libvirt.virConnect, name: str) -> PoolContents | None:
    try:
        pool = connect.storagePoolLookupByName(name)
        if not pool.isActive():
            return None
        refresh_if_idle(pool)
        volumes = named(pool.listAllVolumes())
    except libvirt.libvirtError as error:
        if isinstance(translate(error), errors.NotFound | errors.InvalidState):
            return None
        raise
    whole = [volume for name, volume in volumes.items() if is_whole(name, volumes)]
    facts = [_unless_gone(partial(_volume, volume)) for volume in whole]
    return PoolContents(tuple(volume for volume in facts if volume is not None), unfinished_in(volumes))


def _volume(volume: libvirt.virStorageVol) -> VolumeFacts:
    return parse.volume(volume.XMLDesc())


def _dhcp_hosts(connect: libvirt.virConnect, name: str) -> dict[str, str] | None:
    """None where the network is missing, or is off: no guest can be started on it."""

    def read() -> dict[str, str] | None:
        network = connect.networkLookupByName(name)
        return parse.dhcp_hosts(network.XMLDesc()) if network.isActive() else None

    return _unless_gone(read)
