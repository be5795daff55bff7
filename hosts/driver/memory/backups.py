"""Backups: each is there at the second look. A guest with an agent is frozen and thawed within the first."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from hosts.driver import errors
from hosts.driver.memory.domains import domain_of
from hosts.driver.memory.state import Calls, MemoryHost
from hosts.driver.memory.volumes import header, pool_exists, volume_in
from hosts.driver.types import (
    BackupFacts,
    BackupSpec,
    Consistency,
    CopyFacts,
    DomainSpec,
    PowerState,
    VolumeFacts,
)

MIB = 1 << 20
CHANGED_BYTES = 1 * MIB  # what an incremental backup finds


class BackupCalls(Calls):
    def back_up(self, uuid: UUID, spec: BackupSpec) -> BackupFacts:
        with self._call("back_up") as host:
            machine, power = domain_of(host, uuid)
            pool_exists(host, spec.pool)
            running = host.backups.get(uuid)
            if running is not None and running != spec:
                raise errors.Busy("another backup of the domain is under way")
            if running is None and not all((spec.pool, disk.name) in host.volumes for disk in spec.disks):
                return _begin(host, machine, power, spec)
            read = _close(host, machine, spec) if running is not None else 0
            return BackupFacts(read, read, True, host.checkpoints[uuid][spec.checkpoint])

    def end_backup(self, uuid: UUID, spec: BackupSpec) -> None:
        with self._call("end_backup") as host:
            if host.backups.get(uuid) == spec:
                del host.backups[uuid]
            host.checkpoints.get(uuid, {}).pop(spec.checkpoint, None)
            host.frozen.discard(uuid)
            for disk in spec.disks:
                host.unfinished.discard((spec.pool, disk.name))
                host.volumes.pop((spec.pool, disk.name), None)

    def thaw(self, uuid: UUID) -> None:
        with self._call("thaw") as host:
            host.frozen.discard(uuid)

    def checkpoints(self, uuid: UUID) -> frozenset[str]:
        with self._call("checkpoints") as host:
            return frozenset(host.checkpoints.get(uuid, ()) if uuid in host.domains else ())

    def absorb(self, job: UUID, pool: str, name: str, base: str) -> CopyFacts:
        """The first call begins, and the next one finds it complete."""
        with self._call("absorb") as host:
            there = volume_in(host, pool, name)
            if there.backing == (base or None):
                return CopyFacts(there.capacity_bytes, there.capacity_bytes, True)
            if job not in host.absorbed:
                host.absorbed.add(job)
                return CopyFacts(0, there.capacity_bytes, False, has_begun=True)
            host.absorbed.discard(job)
            host.volumes[pool, name] = replace(there, backing=base or None)
            host.contents[pool, name] = header(there.capacity_bytes) + f"{name} on {base}".encode()
            return CopyFacts(there.capacity_bytes, there.capacity_bytes, True)

    def end_absorb(self, job: UUID) -> None:
        with self._call("end_absorb") as host:
            host.absorbed.discard(job)


def _begin(host: MemoryHost, machine: DomainSpec, power: PowerState, spec: BackupSpec) -> BackupFacts:
    is_on = power in (PowerState.RUNNING, PowerState.PAUSED)
    known = host.checkpoints.setdefault(machine.uuid, {})
    if not is_on and not spec.is_off:
        raise errors.InvalidState("domain is not running")
    if spec.since and spec.since not in known:
        raise errors.CheckpointLost("the host keeps no count of changes since the last backup")
    sources = {disk.target: (disk.pool, disk.volume) for disk in machine.disks}
    for disk in spec.disks:
        volume_in(host, *sources[disk.target])
        if disk.parent:
            volume_in(host, spec.pool, disk.parent)
        host.unfinished.add((spec.pool, disk.name))
    running = Consistency.FROZEN if machine.uuid in host.agents else Consistency.CRASH
    known[spec.checkpoint] = running if is_on else Consistency.OFF
    host.backups[machine.uuid] = spec
    return BackupFacts(0, sum(_to_read(host, spec, sources).values()), False, known[spec.checkpoint], has_begun=True)


def _close(host: MemoryHost, machine: DomainSpec, spec: BackupSpec) -> int:
    """The bytes that were read."""
    del host.backups[machine.uuid]
    sources = {disk.target: (disk.pool, disk.volume) for disk in machine.disks}
    sizes = _to_read(host, spec, sources)
    for disk in spec.disks:
        host.unfinished.discard((spec.pool, disk.name))
        path, capacity = str(host.pools[spec.pool] / disk.name), host.volumes[sources[disk.target]].capacity_bytes
        made = VolumeFacts(disk.name, path, "qcow2", capacity, sizes[disk.target], disk.parent or None)
        host.volumes[spec.pool, disk.name] = made
        host.contents[spec.pool, disk.name] = header(capacity) + f"{disk.name} on {disk.parent}".encode()
    known = host.checkpoints[machine.uuid]
    host.checkpoints[machine.uuid] = {name: known[name] for name in known if name in (spec.checkpoint, *spec.keep)}
    return sum(sizes.values())


def _to_read(host: MemoryHost, spec: BackupSpec, sources: dict[str, tuple[str, str]]) -> dict[str, int]:
    """Bytes by target."""
    sizes = {disk.target: host.volumes[sources[disk.target]].capacity_bytes for disk in spec.disks}
    return {disk.target: CHANGED_BYTES if disk.parent else sizes[disk.target] for disk in spec.disks}
