"""Domains: definition, power, state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from uuid import UUID

import libvirt

from hosts.driver import errors
from hosts.driver.kvm.connection import Calls
from hosts.driver.types import DomainSpec, DomainState, PowerState, Reason
from hosts.driver.xml import parse
from hosts.driver.xml.domain import NAMESPACE, domain_xml

POWER_SECONDS = 30.0  # QEMU starts and ends in a second, and takes many on a loaded machine
POLL_SECONDS = 0.2
CLEARING_UP_SECONDS = 5.0

_POWER = {
    libvirt.VIR_DOMAIN_NOSTATE: PowerState.STOPPED,
    libvirt.VIR_DOMAIN_RUNNING: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: PowerState.RUNNING,  # on its way down, not there
    libvirt.VIR_DOMAIN_SHUTOFF: PowerState.STOPPED,
    libvirt.VIR_DOMAIN_CRASHED: PowerState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: PowerState.PAUSED,
}
_POWER_BY_REASON = {
    (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED): PowerState.CRASHED,
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_CRASHED): PowerState.CRASHED,
    # QEMU is loaded and the guest has not run an instruction yet.
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP): PowerState.STOPPED,
}
# It runs here, and has some of its memory still on the host that it came from, or has lost it with that.
_IN_PARTS = (
    (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY),
    (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED),
)
_REASONS = {
    (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN): Reason.UNKNOWN,
    (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DAEMON): Reason.UNKNOWN,
    (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN): Reason.GUEST,
    (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED): Reason.DESTROYED,
    (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED): Reason.CRASHED,
    (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED): Reason.FAILED,
    (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SAVED): Reason.SAVED,
    (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED): Reason.MIGRATED,
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER): Reason.ASKED,
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR): Reason.IO_ERROR,
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_CRASHED): Reason.CRASHED,
}
_PERSISTENT = libvirt.VIR_DOMAIN_AFFECT_CONFIG
_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)


def power_state(state: int, reason: int) -> PowerState:
    """Of libvirt's virDomainState and its reason."""
    return _POWER_BY_REASON.get((state, reason), _POWER.get(state, PowerState.STOPPED))


def stop_reason(state: int, reason: int) -> Reason:
    """Why it is off or paused; NONE while it runs."""
    if power_state(state, reason) is PowerState.RUNNING:
        return Reason.NONE
    return _REASONS.get((state, reason), Reason.OTHER)


def define_in(connect: libvirt.virConnect, spec: DomainSpec) -> None:
    if (attempt := _attempt(connect, spec.uuid)) > spec.attempt:
        raise errors.Superseded(f"attempt {attempt} has defined {spec.name} already")
    _take_back_name(connect, spec)
    connect.defineXMLFlags(domain_xml(spec), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)


def _attempt(connect: libvirt.virConnect, uuid: UUID) -> int:
    """Which attempt made the definition that is there; 0 where there is none, or none of ours."""
    try:
        domain = connect.lookupByUUIDString(str(uuid))
        return parse.attempt(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE, _PERSISTENT))
    except libvirt.libvirtError as error:
        if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_NO_DOMAIN_METADATA):
            return 0
        raise


def _take_back_name(connect: libvirt.virConnect, spec: DomainSpec) -> None:
    """One that was renamed by hand cannot be defined under its own name; libvirt renames only what is off."""
    domain = find(connect, spec.uuid)
    if domain is not None and domain.name() != spec.name:
        domain.rename(spec.name)


def lookup(connect: libvirt.virConnect, uuid: UUID) -> libvirt.virDomain:
    return connect.lookupByUUIDString(str(uuid))


def find(connect: libvirt.virConnect, uuid: UUID) -> libvirt.virDomain | None:
    """The domain, or None where there is none."""
    try:
        return lookup(connect, uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


class DomainCalls(Calls):
    def list_domains(self) -> list[DomainState]:
        return self._connection.read(_list_domains)

    def state(self, uuid: UUID) -> DomainState | None:
        try:
            return self._connection.read(lambda connect: _state(lookup(connect, uuid)))
        except errors.NotFound:
            return None

    def define(self, spec: DomainSpec) -> None:
        self._connection.call(lambda connect: define_in(connect, spec))

    def undefine(self, uuid: UUID) -> None:
        self._unless_gone(uuid, lambda domain: domain.undefineFlags(_UNDEFINE))

    def start(self, uuid: UUID) -> None:
        self._on(uuid, _start)

    def shutdown(self, uuid: UUID) -> None:
        self._on(uuid, _shutdown)

    def reboot(self, uuid: UUID) -> None:
        """By ACPI, as from a power key: the guest shuts down in order, and QEMU starts it again."""
        self._on(uuid, lambda domain: domain.reboot(libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN))

    def destroy(self, uuid: UUID) -> None:
        self._unless_gone(uuid, _destroy)

    def suspend(self, uuid: UUID) -> None:
        self._on(uuid, lambda domain: domain.suspend())

    def resume(self, uuid: UUID) -> None:
        self._on(uuid, _resume)

    def wait_for(self, uuid: UUID, wanted: Iterable[PowerState], deadline: float) -> PowerState:
        """Asks again and again; NotFound when the domain is gone."""
        goal, until = frozenset(wanted), time.monotonic() + deadline
        while True:
            state = self.state(uuid)
            if state is None:
                raise errors.NotFound(f"no domain {uuid}")
            if state.power in goal:
                return state.power
            if time.monotonic() > until:
                raise errors.Timeout(f"domain {uuid} is still {state.power} after {deadline:.1f} s")
            time.sleep(POLL_SECONDS)

    def _on(self, uuid: UUID, work: Callable[[libvirt.virDomain], object]) -> None:
        self._connection.call(lambda connect: work(lookup(connect, uuid)), seconds=POWER_SECONDS)

    def _unless_gone(self, uuid: UUID, work: Callable[[libvirt.virDomain], object]) -> None:
        try:
            self._on(uuid, work)
        except errors.NotFound:
            return


def _list_domains(connect: libvirt.virConnect) -> list[DomainState]:
    """One bulk call each for persistent and transient domains, as libvirt's answer does not tell them apart.

    NOWAIT: a domain that is held by a job tells what it can, and never holds up the others.
    """
    states = []
    for persistent in (True, False):
        kind = "PERSISTENT" if persistent else "TRANSIENT"
        flags = (
            getattr(libvirt, f"VIR_CONNECT_GET_ALL_DOMAINS_STATS_{kind}")
            | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        )
        for domain, stats in connect.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, flags):
            power = power_state(stats["state.state"], stats["state.reason"])
            states.append(DomainState(UUID(bytes=domain.UUID()), domain.name(), power, persistent))
    return states


def _state(domain: libvirt.virDomain) -> DomainState:
    state, reason = domain.state()
    uuid = UUID(bytes=domain.UUID())
    is_whole = (state, reason) not in _IN_PARTS
    return DomainState(uuid, domain.name(), power_state(state, reason), bool(domain.isPersistent()), is_whole)


def _start(domain: libvirt.virDomain) -> None:
    try:
        domain.create()
    except libvirt.libvirtError as error:
        if not (_is_invalid(error) and domain.isActive()):
            raise


def _shutdown(domain: libvirt.virDomain) -> None:
    _if_active(domain, lambda: domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN))


def _destroy(domain: libvirt.virDomain) -> None:
    """libvirt fails without a word of why while it clears up after a start that failed."""
    until = time.monotonic() + CLEARING_UP_SECONDS
    while True:
        try:
            return _if_active(domain, domain.destroy)
        except libvirt.libvirtError as error:
            if error.get_error_code() is not None or time.monotonic() > until:
                raise
            time.sleep(POLL_SECONDS)


def _resume(domain: libvirt.virDomain) -> None:
    """libvirt refuses to resume what runs; for us it is done."""
    if domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
        domain.resume()


def _if_active(domain: libvirt.virDomain, work: Callable[[], object]) -> None:
    """Try, rather than ask first: it may have stopped in between."""
    try:
        work()
    except libvirt.libvirtError as error:
        if domain.isActive() or not (_is_invalid(error) or error.get_error_code() is None):
            raise


def _is_invalid(error: libvirt.libvirtError) -> bool:
    return bool(error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID)
