"""Counters: those that a test gives its guests, and nothing of all others."""

from __future__ import annotations

from uuid import UUID

from hosts.driver.memory.domains import OFF
from hosts.driver.memory.state import Calls, MemoryHost
from hosts.driver.types import DomainStats, HostStats


class StatsCalls(Calls):
    def stats(self) -> HostStats:
        with self._call("stats") as host:
            on = [uuid for uuid, (_, power) in host.domains.items() if power not in OFF]
            return HostStats(host.cpu_ns, host.memory_mib, tuple(_of(host, uuid) for uuid in on))


def _of(host: MemoryHost, uuid: UUID) -> DomainStats:
    spec, _ = host.domains[uuid]
    nothing = DomainStats(uuid, spec.vcpus, 0, 0, spec.memory_mib, 0, 0, 0, 0, 0, 0)
    return host.counters.get(uuid, nothing)
