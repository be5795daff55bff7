"""Migration: the first call begins, and the next one finds the domain at the other host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from hosts.driver import errors
from hosts.driver.memory.domains import OFF, domain_of, turn
from hosts.driver.memory.state import Calls, MemoryHost
from hosts.driver.memory.state import host as host_of
from hosts.driver.memory.volumes import volume_in
from hosts.driver.types import Arrival, DomainSpec, Journey, MigrationFacts, PowerState

MIB = 1 << 20


class MigrationCalls(Calls):
    def migrate(self, spec: DomainSpec, journey: Journey, prepare: Callable[[], None]) -> MigrationFacts:
        with self._call("migrate") as host:
            if spec.uuid not in host.domains:
                return MigrationFacts(0, 0, True)
            if (domain_of(host, spec.uuid)[1] in OFF) is not journey.is_off and spec.uuid not in host.migrations:
                raise errors.InvalidState(f"domain {spec.uuid} is {host.domains[spec.uuid][1]}")
            total = spec.memory_mib * MIB
            if spec.uuid in host.migrations:
                _arrive(host, host_of(journey.uri), spec, journey)
                return MigrationFacts(total, total, True)
            prepare()
            if domain_of(host, spec.uuid)[1] in OFF:
                host.domains[spec.uuid] = (host.domains[spec.uuid][0], PowerState.PAUSED)
            host.checkpoints.pop(spec.uuid, None)
            host.migrations[spec.uuid] = journey
            return MigrationFacts(0, total, False, has_begun=True)

    def end_migration(self, uuid: UUID) -> bool:
        with self._call("end_migration") as host:
            return uuid not in host.past_return

    def stay(self, uuid: UUID) -> None:
        with self._call("stay") as host:
            journey = host.migrations.pop(uuid, None)
            if journey is not None and journey.is_off:
                turn(host, uuid, PowerState.STOPPED, "destroyed")
            elif uuid in host.left_paused:
                host.left_paused.remove(uuid)
                turn(host, uuid, PowerState.RUNNING, "resumed")

    def arrival(self, uuid: UUID) -> Arrival | None:
        with self._call("arrival") as host:
            domain_of(host, uuid)
            return host.arrivals.get(uuid)


def _arrive(host: MemoryHost, there: MemoryHost, spec: DomainSpec, journey: Journey) -> None:
    """With the sizes of what is copied, as nothing else of a volume is known here."""
    old, power = host.domains[spec.uuid]
    before = {disk.target: disk for disk in old.disks}
    for disk in spec.disks:
        made = volume_in(there, disk.pool, disk.volume)
        if disk.target in journey.copied:
            source = volume_in(host, before[disk.target].pool, before[disk.target].volume)
            there.volumes[disk.pool, disk.volume] = replace(made, allocation_bytes=source.allocation_bytes)
    del host.migrations[spec.uuid], host.domains[spec.uuid]
    host.running.pop(spec.uuid, None)
    there.domains[spec.uuid] = (spec, power)
    there.running[spec.uuid] = {disk.target: disk for disk in spec.disks}
    there.arrivals[spec.uuid] = Arrival(downtime_ms=5, total_ms=100, sent_bytes=spec.memory_mib * MIB)
