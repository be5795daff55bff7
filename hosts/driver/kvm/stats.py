"""Counters of the host and of all guests that are on, in one bulk call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import libvirt

from hosts.driver.kvm.connection import Calls
from hosts.driver.types import DomainStats, HostStats

STATS_SECONDS = 30.0  # libvirt asks each QEMU: some 6 ms a guest
_GROUPS = (
    libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_BLOCK
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
)
# A guest that is held by a job tells what it can, and never holds up the others.
_FLAGS = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
_IDLE = ("idle", "iowait")


class StatsCalls(Calls):
    def stats(self) -> HostStats:
        """On a connection of its own: hundreds of guests take seconds, and others must not wait for that."""
        session = self._connection.session()
        try:
            return session.run(_stats, STATS_SECONDS)
        finally:
            session.drop()


def _stats(connect: libvirt.virConnect) -> HostStats:
    cpu = connect.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
    memory = connect.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    reclaimable = memory.get("buffers", 0) + memory.get("cached", 0)
    return HostStats(
        cpu_ns=sum(value for name, value in cpu.items() if name not in _IDLE),
        memory_mib=(memory["total"] - memory["free"] - reclaimable) // 1024,
        domains=tuple(_domain(domain, stats) for domain, stats in connect.getAllDomainStats(_GROUPS, _FLAGS)),
    )


def _domain(domain: libvirt.virDomain, stats: Mapping[str, Any]) -> DomainStats:
    return DomainStats(
        uuid=UUID(bytes=domain.UUID()),
        vcpus=int(stats.get("vcpu.current", 0)),
        cpu_ns=_sum(stats, "vcpu", "time"),
        wait_ns=_sum(stats, "vcpu", "delay"),
        memory_mib=int(stats.get("balloon.rss", 0)) // 1024,
        read_bytes=_sum(stats, "block", "rd.bytes"),
        written_bytes=_sum(stats, "block", "wr.bytes"),
        read_requests=_sum(stats, "block", "rd.reqs"),
        write_requests=_sum(stats, "block", "wr.reqs"),
        received_bytes=_sum(stats, "net", "rx.bytes"),
        sent_bytes=_sum(stats, "net", "tx.bytes"),
    )


def _sum(stats: Mapping[str, Any], group: str, counter: str) -> int:
    """Of vcpu.0.time, vcpu.1.time, ...: a guest that is held by a job leaves some of them out."""
    return sum(
        int(value) for name, value in stats.items() if name.startswith(f"{group}.") and name.endswith(f".{counter}")
    )
