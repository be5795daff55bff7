"""A host in memory, for tests that are about something else than the hypervisor.

It keeps what `Driver` promises and no more: guests obey at once, uploads keep only sizes, a serial port echoes. Drivers
with one URI in a process see one host; tests/driver holds it to the same suite as the real one.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path
from uuid import UUID

from hosts.driver import errors
from hosts.driver.base import Progress
from hosts.driver.types import (
    Accelerator,
    AcceleratorVerdict,
    CdromSpec,
    CopyFacts,
    DiskFacts,
    DiskSpec,
    DomainEvent,
    DomainFacts,
    DomainSpec,
    DomainState,
    HostFacts,
    Inventory,
    Lease,
    PoolFacts,
    PowerState,
    Reason,
    VolumeFacts,
)
from hosts.driver.xml import outline

CHUNK_BYTES = 1 << 20
POOL_BYTES = 1 << 40
QCOW2_MAGIC = b"QFI\xfb"
_OFF = (PowerState.STOPPED, PowerState.CRASHED)
_REASONS = {"shutdown": Reason.GUEST, "destroyed": Reason.DESTROYED, "suspended": Reason.ASKED}


@dataclass
class MemoryHost:
    """What one URI means in this process. `latency_seconds` is spent in each call; tests may change all of it."""

    latency_seconds: float = 0.0
    domains: dict[UUID, tuple[DomainSpec, PowerState]] = field(default_factory=dict)
    pools: dict[str, Path] = field(default_factory=dict)
    volumes: dict[tuple[str, str], VolumeFacts] = field(default_factory=dict)
    reasons: dict[UUID, Reason] = field(default_factory=dict)
    unfinished: set[tuple[str, str]] = field(default_factory=set)
    copies: dict[UUID, tuple[str, str]] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)
    dhcp_hosts: dict[str, dict[str, str]] = field(default_factory=dict)
    watchers: list[tuple[Callable[[DomainEvent], None], Callable[[], None]]] = field(default_factory=list)
    faults: dict[str, deque[errors.DriverError]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def fail_next(self, method: str, error: errors.DriverError) -> None:
        """The next call of `method` raises `error` before it does anything; several are raised in turn."""
        self.faults.setdefault(method, deque()).append(error)

    def lose_power(self) -> None:
        """All guests die at once, and nobody is told."""
        self.domains = {uuid: (spec, PowerState.STOPPED) for uuid, (spec, _) in self.domains.items()}
        self.reasons.clear()
        self.copies.clear()

    def lose_connection(self) -> None:
        """Tell all who watch that the connection broke."""
        watchers, self.watchers = self.watchers, []
        for _, on_lost in watchers:
            on_lost()


_hosts: dict[str, MemoryHost] = {}


def host(uri: str) -> MemoryHost:
    """The host that drivers for `uri` talk to."""
    return _hosts.setdefault(uri, MemoryHost())


def reset() -> None:
    """Forget all hosts; drivers that are still held keep theirs."""
    _hosts.clear()


class MemoryDriver:
    """`hosts.driver.base.Driver` over a `MemoryHost`."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.host = host(uri)

    def fail_next(self, method: str, error: errors.DriverError) -> None:
        self.host.fail_next(method, error)

    @contextmanager
    def _call(self, method: str) -> Iterator[MemoryHost]:
        """One call, alone on the host as in libvirt's driver."""
        self.host.calls.append(method)
        if self.host.latency_seconds:
            time.sleep(self.host.latency_seconds)
        with self.host.lock:
            if faults := self.host.faults.get(method):
                raise faults.popleft()
            yield self.host

    # -- the host ------------------------------------------------------------------------------------------------

    def facts(self) -> HostFacts:
        with self._call("facts") as host:
            return HostFacts(
                hostname=self.uri.partition("://")[2],
                cpu_model="Memory",
                cpus=8,
                memory_mib=32768,
                libvirt_version="0.0.0",
                qemu_version="0.0.0",
                accelerators=(Accelerator.TCG,),
                pools=tuple(_pool_facts(name, path) for name, path in host.pools.items()),
            )

    def probe_accelerator(self, accelerator: Accelerator, pool: str, deadline: float) -> AcceleratorVerdict:
        with self._call("probe_accelerator") as host:
            _pool_exists(host, pool)
            if accelerator is Accelerator.TCG:
                return AcceleratorVerdict(accelerator, True, 0.0, "")
            return AcceleratorVerdict(accelerator, False, 0.0, "the guest did not start: no such accelerator")

    def ensure_pool(self, name: str, path: Path) -> PoolFacts:
        with self._call("ensure_pool") as host:
            there = host.pools.setdefault(name, path)
            if there != path:
                raise errors.AlreadyExists(f"pool {name} lies at {there}, not at {path}")
            return _pool_facts(name, path)

    def ensure_network(self, name: str, candidates: Sequence[str]) -> str:
        with self._call("ensure_network") as host:
            if name not in host.networks:
                host.networks[name] = _first_free(candidates, host.networks.values())
                host.dhcp_hosts[name] = {}
            return host.networks[name]

    def inventory(self, pool: str, network: str) -> Inventory:
        with self._call("inventory") as host:
            return Inventory(
                domains=tuple(_domain_facts(host, uuid) for uuid in host.domains),
                volumes=tuple(volume for (place, _), volume in host.volumes.items() if place == pool)
                if pool in host.pools
                else None,
                unfinished=tuple(sorted(name for place, name in host.unfinished if place == pool)),
                dhcp_hosts=dict(host.dhcp_hosts[network]) if network in host.networks else None,
            )

    def delete_pool(self, name: str) -> None:
        with self._call("delete_pool") as host:
            host.pools.pop(name, None)

    def delete_network(self, name: str) -> None:
        with self._call("delete_network") as host:
            host.networks.pop(name, None)
            host.dhcp_hosts.pop(name, None)

    # -- volumes -------------------------------------------------------------------------------------------------

    def list_volumes(self, pool: str) -> list[VolumeFacts]:
        with self._call("list_volumes") as host:
            _pool_exists(host, pool)
            return [volume for (place, _), volume in host.volumes.items() if place == pool]

    def volume(self, pool: str, name: str) -> VolumeFacts | None:
        with self._call("volume") as host:
            _pool_exists(host, pool)
            return host.volumes.get((pool, name))

    def ensure_overlay(self, pool: str, name: str, backing: str, capacity_bytes: int) -> VolumeFacts:
        with self._call("ensure_overlay") as host:
            _pool_exists(host, pool)
            there = host.volumes.get((pool, name))
            if there is None:
                _volume(host, pool, backing)
                made = VolumeFacts(name, str(host.pools[pool] / name), "qcow2", capacity_bytes, 0, backing)
                return host.volumes.setdefault((pool, name), made)
            if there.backing != backing:
                raise errors.AlreadyExists(f"volume {name} is an overlay on {there.backing}, not on {backing}")
            return there

    def upload(
        self,
        pool: str,
        name: str,
        source: Path | bytes,
        fmt: str,
        progress: Progress | None = None,
        *,
        replace: bool = True,
    ) -> VolumeFacts:
        with self._call("upload") as host:
            _pool_exists(host, pool)
            if not replace and (pool, name) in host.volumes:
                raise errors.Busy(f"somebody else has just uploaded {name}")
            host.volumes.pop((pool, name), None)
            host.unfinished.add((pool, name))
        try:
            made = _received(host.pools[pool] / name, source, fmt, progress)
            with host.lock:
                host.volumes[pool, name] = made
        finally:
            host.unfinished.discard((pool, name))
        return made

    def copy_volume(self, job: UUID, attempt: int, pool: str, source: str, name: str) -> CopyFacts:
        """The first call begins, and the next one finds it complete."""
        with self._call("copy_volume") as host:
            there, key = _volume(host, pool, source), (pool, name)
            total = there.capacity_bytes
            if job not in host.copies and key not in host.volumes:
                host.copies[job] = key
                host.unfinished.add(key)
                return CopyFacts(0, total, False)
            if host.copies.pop(job, None):
                host.unfinished.discard(key)
                path = str(host.pools[pool] / name)
                host.volumes[key] = VolumeFacts(name, path, "qcow2", total, there.allocation_bytes)
            return CopyFacts(total, total, True)

    def end_copy(self, job: UUID) -> None:
        with self._call("end_copy") as host:
            host.copies.pop(job, None)

    def grow_volume(self, pool: str, name: str, capacity_bytes: int) -> None:
        with self._call("grow_volume") as host:
            there = _volume(host, pool, name)
            larger = max(there.capacity_bytes, capacity_bytes)
            host.volumes[pool, name] = replace(there, capacity_bytes=larger)

    def delete_volume(self, pool: str, name: str) -> None:
        with self._call("delete_volume") as host:
            _pool_exists(host, pool)
            host.unfinished.discard((pool, name))
            host.volumes.pop((pool, name), None)

    # -- network -------------------------------------------------------------------------------------------------

    def ensure_dhcp_host(self, network: str, mac: str, ip: str) -> None:
        with self._call("ensure_dhcp_host") as host:
            hosts = _dhcp_hosts(host, network)
            for owner in [owner for owner, other in hosts.items() if other == ip]:
                del hosts[owner]
            hosts[mac.lower()] = ip

    def delete_dhcp_host(self, network: str, mac: str) -> None:
        with self._call("delete_dhcp_host") as host:
            host.dhcp_hosts.get(network, {}).pop(mac.lower(), None)

    def leases(self, network: str) -> list[Lease]:
        """Each running guest's static address, as one whose DHCP client is quick would have it."""
        with self._call("leases") as host:
            hosts = _dhcp_hosts(host, network)
            running = [spec for spec, power in host.domains.values() if power is PowerState.RUNNING]
            nics = [(spec, nic) for spec in running for nic in spec.nics if nic.network == network]
            until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
            return [Lease(nic.mac, hosts[nic.mac], spec.title, until) for spec, nic in nics if nic.mac in hosts]

    # -- domains -------------------------------------------------------------------------------------------------

    def list_domains(self) -> list[DomainState]:
        with self._call("list_domains") as host:
            return [DomainState(spec.uuid, spec.name, power) for spec, power in host.domains.values()]

    def state(self, uuid: UUID) -> DomainState | None:
        with self._call("state") as host:
            if uuid not in host.domains:
                return None
            spec, power = host.domains[uuid]
            return DomainState(uuid, spec.name, power)

    def define(self, spec: DomainSpec) -> None:
        with self._call("define") as host:
            if any(there.name == spec.name and there.uuid != spec.uuid for there, _ in host.domains.values()):
                raise errors.AlreadyExists(f"domain {spec.name} already exists with another uuid")
            there, power = host.domains.get(spec.uuid, (spec, PowerState.STOPPED))
            if there.attempt > spec.attempt:
                raise errors.Superseded(f"attempt {there.attempt} has defined {spec.name} already")
            host.domains[spec.uuid] = (spec, power)
            _tell(host, spec, power, "defined")

    def undefine(self, uuid: UUID) -> None:
        with self._call("undefine") as host:
            if uuid in host.domains:
                spec, _ = host.domains.pop(uuid)
                _tell(host, spec, None, "undefined")

    def start(self, uuid: UUID) -> None:
        with self._call("start") as host:
            if _domain(host, uuid)[1] in _OFF:
                _needs(host, host.domains[uuid][0])
                _turn(host, uuid, PowerState.RUNNING, "started")

    def shutdown(self, uuid: UUID) -> None:
        with self._call("shutdown") as host:
            if _domain(host, uuid)[1] is PowerState.RUNNING:
                _turn(host, uuid, PowerState.STOPPED, "shutdown")

    def reboot(self, uuid: UUID) -> None:
        with self._call("reboot") as host:
            _is_on(host, uuid)

    def destroy(self, uuid: UUID) -> None:
        with self._call("destroy") as host:
            if uuid in host.domains and host.domains[uuid][1] not in _OFF:
                _turn(host, uuid, PowerState.STOPPED, "destroyed")

    def suspend(self, uuid: UUID) -> None:
        with self._call("suspend") as host:
            _is_on(host, uuid)
            _turn(host, uuid, PowerState.PAUSED, "suspended")

    def resume(self, uuid: UUID) -> None:
        with self._call("resume") as host:
            _is_on(host, uuid)
            _turn(host, uuid, PowerState.RUNNING, "resumed")

    def wait_for(self, uuid: UUID, wanted: Iterable[PowerState], deadline: float) -> PowerState:
        goal, until = frozenset(wanted), time.monotonic() + deadline
        while True:
            with self._call("wait_for") as host:
                power = _domain(host, uuid)[1]
            if power in goal:
                return power
            if time.monotonic() > until:
                raise errors.Timeout(f"domain {uuid} is still {power} after {deadline:.1f} s")
            time.sleep(0.01)

    # -- streams and events --------------------------------------------------------------------------------------

    def open_display(self, uuid: UUID) -> socket.socket:
        """Greets as an RFB server does, and says no more."""
        with self._call("open_display") as host:
            _is_on(host, uuid)
        ours, theirs = socket.socketpair()
        ours.sendall(b"RFB 003.008\n")
        threading.Thread(target=_swallow, args=(ours,), daemon=True).start()
        return theirs

    def open_serial(self, uuid: UUID) -> socket.socket:
        """Echoes."""
        with self._call("open_serial") as host:
            _is_on(host, uuid)
        ours, theirs = socket.socketpair()
        threading.Thread(target=_echo, args=(ours,), daemon=True).start()
        return theirs

    def watch(self, on_event: Callable[[DomainEvent], None], on_lost: Callable[[], None]) -> Callable[[], None]:
        """Called in the thread of whoever made the change."""
        watcher = (on_event, on_lost)
        with self._call("watch") as host:
            host.watchers.append(watcher)

        def stop() -> None:
            with host.lock:
                host.watchers = [other for other in host.watchers if other is not watcher]

        return stop

    def close(self) -> None:
        """Nothing is open."""


def _domain_facts(host: MemoryHost, uuid: UUID) -> DomainFacts:
    spec, power = host.domains[uuid]
    disks: list[DiskSpec | CdromSpec] = [*spec.disks, *spec.cdroms]
    return DomainFacts(
        uuid=spec.uuid,
        name=spec.name,
        power=power,
        owner=spec.owner or None,
        vcpus=spec.vcpus,
        vcpus_max=spec.vcpus,
        memory_mib=spec.memory_mib,
        memory_max_mib=spec.memory_mib,
        disks=tuple(DiskFacts(disk.target, disk.pool, disk.volume) for disk in disks),
        outline=outline.of_spec(spec),
        running_outline=outline.of_spec(spec) if power in (PowerState.RUNNING, PowerState.PAUSED) else None,
        reason=Reason.NONE if power is PowerState.RUNNING else host.reasons.get(uuid, Reason.UNKNOWN),
    )


def _pool_facts(name: str, path: Path) -> PoolFacts:
    return PoolFacts(name, str(path), True, POOL_BYTES, POOL_BYTES)


def _pool_exists(host: MemoryHost, pool: str) -> None:
    if pool not in host.pools:
        raise errors.NotFound(f"no pool {pool}")


def _volume(host: MemoryHost, pool: str, name: str) -> VolumeFacts:
    if (pool, name) not in host.volumes:
        raise errors.NotFound(f"no volume {name} in pool {pool}")
    return host.volumes[pool, name]


def _dhcp_hosts(host: MemoryHost, network: str) -> dict[str, str]:
    if network not in host.networks:
        raise errors.NotFound(f"no network {network}")
    return host.dhcp_hosts[network]


def _domain(host: MemoryHost, uuid: UUID) -> tuple[DomainSpec, PowerState]:
    if uuid not in host.domains:
        raise errors.NotFound(f"no domain {uuid}")
    return host.domains[uuid]


def _is_on(host: MemoryHost, uuid: UUID) -> None:
    if _domain(host, uuid)[1] in _OFF:
        raise errors.InvalidState("domain is not running")


def _needs(host: MemoryHost, spec: DomainSpec) -> None:
    """What a start looks for, as on a real host: definitions may name what is not there yet."""
    volumes = [(disk.pool, disk.volume) for disk in spec.disks] + [(cdrom.pool, cdrom.volume) for cdrom in spec.cdroms]
    for pool, volume in volumes:
        _pool_exists(host, pool)
        _volume(host, pool, volume)
    for nic in spec.nics:
        _dhcp_hosts(host, nic.network)


def _turn(host: MemoryHost, uuid: UUID, power: PowerState, reason: str) -> None:
    spec, before = host.domains[uuid]
    if power is not before:
        host.domains[uuid] = (spec, power)
        host.reasons[uuid] = _REASONS.get(reason, Reason.UNKNOWN)
        _tell(host, spec, power, reason)


def _tell(host: MemoryHost, spec: DomainSpec, power: PowerState | None, reason: str) -> None:
    for on_event, _ in list(host.watchers):
        on_event(DomainEvent(spec.uuid, spec.name, power, reason, datetime.now(UTC)))


def _first_free(candidates: Sequence[str], taken: Iterable[str]) -> str:
    used = [IPv4Network(cidr) for cidr in taken]
    for cidr in candidates:
        if not any(IPv4Network(cidr).overlaps(other) for other in used):
            return cidr
    raise errors.Unsupported("no candidate subnet is free")


def _received(path: Path, source: Path | bytes, fmt: str, progress: Progress | None) -> VolumeFacts:
    """The volume an upload makes."""
    head, size = _head_and_size(source)
    if (head[:4] == QCOW2_MAGIC) != (fmt == "qcow2"):
        raise errors.Invalid(f"{path.name} is not a whole {fmt}")
    for sent in range(CHUNK_BYTES, size + CHUNK_BYTES, CHUNK_BYTES):
        if progress is not None:
            progress(min(sent, size) / size)
    capacity = int.from_bytes(head[24:32]) if fmt == "qcow2" else size  # of the qcow2 header, in the format's order
    return VolumeFacts(path.name, str(path), fmt, capacity, size)


def _head_and_size(source: Path | bytes) -> tuple[bytes, int]:
    if isinstance(source, bytes):
        return source[:32], len(source)
    with source.open("rb") as file:
        return file.read(32), source.stat().st_size


def _echo(ours: socket.socket) -> None:
    with ours:
        while data := ours.recv(4096):
            ours.sendall(data)


def _swallow(ours: socket.socket) -> None:
    with ours:
        while ours.recv(4096):
            pass
