"""The host itself: versions, CPU, memory, what it offers, and its pools."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import libvirt

from hosts.driver import errors
from hosts.driver.kvm.connection import Calls
from hosts.driver.types import Accelerator, Firmware, HostFacts, PoolFacts, PoolKind, PoolSpec
from hosts.driver.xml import parse
from hosts.driver.xml.domain import EMULATOR_ARCHITECTURE
from hosts.driver.xml.pool import pool_spec_xml

MACHINE = "q35"  # of all that we define
POOL_SECONDS = 30.0  # a pool is scanned when it starts
# A directory is made where it is missing. "Building" a volume group would erase disks.
_BUILT = frozenset({PoolKind.DIR, PoolKind.NETFS})


class HostCalls(Calls):
    def facts(self) -> HostFacts:
        return self._connection.read(_facts)

    def ensure_pool(self, name: str, path: Path) -> PoolFacts:
        """AlreadyExists where the name is that of a pool at another path."""
        return self.define_pool(PoolSpec(name, PoolKind.DIR, str(path)))

    def define_pool(self, spec: PoolSpec) -> PoolFacts:
        return self._connection.call(lambda connect: _define_pool(connect, spec), seconds=POOL_SECONDS)

    def delete_pool(self, name: str) -> None:
        try:
            self._connection.call(lambda connect: _delete_pool(connect, name), seconds=POOL_SECONDS)
        except errors.NotFound:
            return


def _facts(connect: libvirt.virConnect) -> HostFacts:
    offered = parse.capabilities(connect.getCapabilities())
    cpus = connect.getInfo()[2]
    # not getInfo's memory: that adds up NUMA cells, and misses memory that was plugged in later
    memory_kib = connect.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"]
    return HostFacts(
        uuid=offered.uuid,
        hostname=connect.getHostname(),
        cpu_model=offered.cpu_model,
        cpus=cpus,
        memory_mib=memory_kib // 1024,
        libvirt_version=_version(connect.getLibVersion()),
        qemu_version=_version(connect.getVersion()),
        accelerators=offered.accelerators,
        firmwares=_firmwares(connect, offered.accelerators),
        pools=tuple(_pool_facts(pool) for pool in connect.listAllStoragePools()),
        huge_pages_mib=offered.huge_pages_mib,
        cpu_models={each: parse.cpu_models(_domain_capabilities(connect, each)) for each in offered.accelerators},
    )


def _firmwares(connect: libvirt.virConnect, accelerators: Sequence[Accelerator]) -> tuple[Firmware, ...]:
    """Those that guests of the kind we define can have: libvirt looks which files the distribution has put there."""
    if not accelerators:
        return ()
    return parse.firmwares(_domain_capabilities(connect, accelerators[-1]))


def _domain_capabilities(connect: libvirt.virConnect, accelerator: Accelerator) -> str:
    return str(connect.getDomainCapabilities(None, EMULATOR_ARCHITECTURE, MACHINE, accelerator.value))


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"


def _pool_facts(pool: libvirt.virStoragePool) -> PoolFacts:
    state, capacity, _, available = pool.info()
    active = state == libvirt.VIR_STORAGE_POOL_RUNNING
    return PoolFacts(pool.name(), parse.pool_path(pool.XMLDesc()), active, capacity, available)


def _define_pool(connect: libvirt.virConnect, spec: PoolSpec) -> PoolFacts:
    try:
        pool = connect.storagePoolLookupByName(spec.name)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
            raise
        pool = connect.storagePoolDefineXML(pool_spec_xml(spec), libvirt.VIR_STORAGE_POOL_DEFINE_VALIDATE)
    if (there := parse.pool(pool.XMLDesc())) != parse.pool(pool_spec_xml(spec)):
        raise errors.AlreadyExists(f"pool {spec.name} is {there}")
    if not pool.isActive():
        pool.create(libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD if spec.kind in _BUILT else 0)
    pool.setAutostart(1)
    return _pool_facts(pool)


def _delete_pool(connect: libvirt.virConnect, name: str) -> None:
    pool = connect.storagePoolLookupByName(name)
    if pool.isActive():
        pool.destroy()
    if parse.pool(pool.XMLDesc())[0] == PoolKind.DIR:  # of others it would take what lies in them
        with suppress(libvirt.libvirtError):  # it is not empty, or is no longer there
            pool.delete()
    pool.undefine()
