"""Disks of running guests, which let go at once unless they are deaf."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from hosts.driver import errors
from hosts.driver.memory.domains import define_in, domain_of
from hosts.driver.memory.state import Calls, MemoryHost
from hosts.driver.memory.volumes import pool_exists, volume_in
from hosts.driver.types import CopyFacts, DiskLimits, DiskSpec, DomainSpec, VolumeFacts


class DiskCalls(Calls):
    def attach_disk(self, uuid: UUID, disk: DiskSpec) -> None:
        with self._call("attach_disk") as host:
            domain_of(host, uuid)
            volume_in(host, disk.pool, disk.volume)
            if uuid not in host.running or _has(host, uuid, disk):
                return
            if disk.target in host.running[uuid]:
                raise errors.AlreadyExists(f"domain {uuid} has another disk as {disk.target}")
            if any(_is_same(other, disk) for disks in host.running.values() for other in disks.values()):
                raise errors.Busy(f"{disk.volume} is another guest's")
            host.running[uuid][disk.target] = disk

    def detach_disk(self, uuid: UUID, disk: DiskSpec) -> bool:
        with self._call("detach_disk") as host:
            domain_of(host, uuid)
            if _has(host, uuid, disk):
                if uuid in host.deaf:
                    return False
                del host.running[uuid][disk.target]
            return True

    def grow_disk(self, uuid: UUID, disk: DiskSpec, capacity_bytes: int) -> None:
        with self._call("grow_disk") as host:
            domain_of(host, uuid)
            if not _has(host, uuid, disk):
                raise errors.InvalidState(f"{disk.volume} is no disk of a running domain {uuid}")
            there = volume_in(host, disk.pool, disk.volume)
            larger = max(there.capacity_bytes, capacity_bytes)
            host.volumes[disk.pool, disk.volume] = replace(there, capacity_bytes=larger)

    def limit_disk(self, uuid: UUID, target: str, limits: DiskLimits) -> None:
        with self._call("limit_disk") as host:
            domain_of(host, uuid)
            if there := host.running.get(uuid, {}).get(target):
                host.running[uuid][target] = replace(there, limits=limits)

    def move_disk(self, spec: DomainSpec, target: str) -> CopyFacts:
        """The first call begins, and the next one finds both the same."""
        with self._call("move_disk") as host:
            domain_of(host, spec.uuid)
            (disk,) = (disk for disk in spec.disks if disk.target == target)
            pool_exists(host, disk.pool)
            there = host.running.get(spec.uuid, {}).get(target)
            if there is None:
                raise errors.InvalidState(f"domain {spec.uuid} does not run with a disk {target}")
            source, key = volume_in(host, there.pool, there.volume), (disk.pool, disk.volume)
            if key not in host.unfinished and not _is_same(there, disk):
                host.unfinished.add(key)
                return CopyFacts(0, source.capacity_bytes, False)
            define_in(host, spec)
            path = str(host.pools[disk.pool] / disk.volume)
            moved = VolumeFacts(disk.volume, path, "qcow2", source.capacity_bytes, source.allocation_bytes)
            host.volumes[key] = moved
            host.running[spec.uuid][target] = replace(there, pool=disk.pool, volume=disk.volume)
            host.unfinished.discard(key)
            return CopyFacts(source.capacity_bytes, source.capacity_bytes, True)

    def end_move(self, uuid: UUID, disk: DiskSpec) -> bool:
        with self._call("end_move") as host:
            spec, _ = domain_of(host, uuid)
            disks = host.running.get(uuid) or {disk.target: disk for disk in spec.disks}
            if disk.target in disks and _is_same(disks[disk.target], disk):
                return True
            host.unfinished.discard((disk.pool, disk.volume))
            host.volumes.pop((disk.pool, disk.volume), None)
            return False


def _has(host: MemoryHost, uuid: UUID, disk: DiskSpec) -> bool:
    there = host.running.get(uuid, {}).get(disk.target)
    return there is not None and _is_same(there, disk)


def _is_same(one: DiskSpec, other: DiskSpec) -> bool:
    return (one.pool, one.volume) == (other.pool, other.volume)
