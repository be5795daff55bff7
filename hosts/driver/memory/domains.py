"""Domains: guests obey at once."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

from hosts.driver import errors
from hosts.driver.memory.networks import dhcp_hosts
from hosts.driver.memory.state import Calls, MemoryHost
from hosts.driver.memory.volumes import pool_exists, volume_in
from hosts.driver.types import DomainEvent, DomainSpec, DomainState, PowerState, Reason

OFF = (PowerState.STOPPED, PowerState.CRASHED)
_REASONS = {"shutdown": Reason.GUEST, "destroyed": Reason.DESTROYED, "suspended": Reason.ASKED}


class DomainCalls(Calls):
    def list_domains(self) -> list[DomainState]:
        with self._call("list_domains") as host:
            return [DomainState(spec.uuid, spec.name, power) for spec, power in host.domains.values()]

    def state(self, uuid: UUID) -> DomainState | None:
        with self._call("state") as host:
            if uuid not in host.domains:
                return None
            spec, power = host.domains[uuid]
            return DomainState(uuid, spec.name, power, uuid not in host.transient, uuid not in host.in_parts)

    def define(self, spec: DomainSpec) -> None:
        with self._call("define") as host:
            define_in(host, spec)

    def undefine(self, uuid: UUID) -> None:
        with self._call("undefine") as host:
            if uuid in host.domains:
                spec, _ = host.domains.pop(uuid)
                host.checkpoints.pop(uuid, None)
                _tell(host, spec, None, "undefined")

    def start(self, uuid: UUID) -> None:
        with self._call("start") as host:
            if domain_of(host, uuid)[1] in OFF:
                _needs(host, host.domains[uuid][0])
                host.running[uuid] = {disk.target: disk for disk in host.domains[uuid][0].disks}
                turn(host, uuid, PowerState.RUNNING, "started")

    def shutdown(self, uuid: UUID) -> None:
        with self._call("shutdown") as host:
            if domain_of(host, uuid)[1] is PowerState.RUNNING:
                turn(host, uuid, PowerState.STOPPED, "shutdown")

    def reboot(self, uuid: UUID) -> None:
        with self._call("reboot") as host:
            is_on(host, uuid)

    def destroy(self, uuid: UUID) -> None:
        with self._call("destroy") as host:
            if uuid in host.domains and host.domains[uuid][1] not in OFF:
                turn(host, uuid, PowerState.STOPPED, "destroyed")

    def suspend(self, uuid: UUID) -> None:
        with self._call("suspend") as host:
            is_on(host, uuid)
            turn(host, uuid, PowerState.PAUSED, "suspended")

    def resume(self, uuid: UUID) -> None:
        with self._call("resume") as host:
            is_on(host, uuid)
            turn(host, uuid, PowerState.RUNNING, "resumed")

    def wait_for(self, uuid: UUID, wanted: Iterable[PowerState], deadline: float) -> PowerState:
        goal, until = frozenset(wanted), time.monotonic() + deadline
        while True:
            with self._call("wait_for") as host:
                power = domain_of(host, uuid)[1]
            if power in goal:
                return power
            if time.monotonic() > until:
                raise errors.Timeout(f"domain {uuid} is still {power} after {deadline:.1f} s")
            time.sleep(0.01)


def define_in(host: MemoryHost, spec: DomainSpec) -> None:
    if any(there.name == spec.name and there.uuid != spec.uuid for there, _ in host.domains.values()):
        raise errors.AlreadyExists(f"domain {spec.name} already exists with another uuid")
    there, power = host.domains.get(spec.uuid, (spec, PowerState.STOPPED))
    if there.attempt > spec.attempt:
        raise errors.Superseded(f"attempt {there.attempt} has defined {spec.name} already")
    host.domains[spec.uuid] = (spec, power)
    host.transient.discard(spec.uuid)
    _tell(host, spec, power, "defined")


def domain_of(host: MemoryHost, uuid: UUID) -> tuple[DomainSpec, PowerState]:
    if uuid not in host.domains:
        raise errors.NotFound(f"no domain {uuid}")
    return host.domains[uuid]


def is_on(host: MemoryHost, uuid: UUID) -> None:
    if domain_of(host, uuid)[1] in OFF:
        raise errors.InvalidState("domain is not running")


def _needs(host: MemoryHost, spec: DomainSpec) -> None:
    """What a start looks for, as on a real host: definitions may name what is not there yet."""
    volumes = [(disk.pool, disk.volume) for disk in spec.disks] + [(cdrom.pool, cdrom.volume) for cdrom in spec.cdroms]
    for pool, volume in volumes:
        pool_exists(host, pool)
        volume_in(host, pool, volume)
    for nic in spec.nics:
        dhcp_hosts(host, nic.network)


def turn(host: MemoryHost, uuid: UUID, power: PowerState, reason: str) -> None:
    spec, before = host.domains[uuid]
    if power in OFF:
        host.running.pop(uuid, None)
    if power is not before:
        host.domains[uuid] = (spec, power)
        host.reasons[uuid] = _REASONS.get(reason, Reason.UNKNOWN)
        _tell(host, spec, power, reason)


def _tell(host: MemoryHost, spec: DomainSpec, power: PowerState | None, reason: str) -> None:
    for on_event, _ in list(host.watchers):
        on_event(DomainEvent(spec.uuid, spec.name, power, reason, datetime.now(UTC)))
