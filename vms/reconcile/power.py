"""Whether a machine's power is what its owner wants, and what to do where it is not. Pure.

A guest that powers itself off is obeyed, and so is an ACPI key pressed by hand: libvirt tells them apart from nothing.
But a host that shuts down presses that key too, so the wish follows only when the host is still there a minute later.
A machine that is off and that nobody stopped went down with its host: it is started again. So is one whose disks
Berth has read since: ending that takes the place of what libvirt knew before.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from hosts.driver.types import DomainFacts, PowerState, Reason
from vms.audit.findings import Finding, Kind
from vms.audit.rows import HostRow, Machine
from vms.models import Power

OBEY_GUEST_AFTER = timedelta(seconds=60)


class Ruling(StrEnum):
    AS_WANTED = "as_wanted"
    OBEY_GUEST = "obey_guest"
    BRING_BACK = "bring_back"
    STARTED_OUTSIDE = "started_outside"
    STOPPED_OUTSIDE = "stopped_outside"


def rule(machine: Machine, domain: DomainFacts, now: datetime) -> Ruling:
    if machine.wanted_power == Power.STOPPED:
        is_on = domain.power in (PowerState.RUNNING, PowerState.PAUSED)
        return Ruling.STARTED_OUTSIDE if is_on else Ruling.AS_WANTED
    if domain.power is PowerState.RUNNING:
        return Ruling.AS_WANTED if machine.wanted_power == Power.RUNNING else Ruling.STARTED_OUTSIDE
    if domain.power is PowerState.PAUSED:
        return Ruling.AS_WANTED if machine.wanted_power == Power.PAUSED else Ruling.STOPPED_OUTSIDE
    return _rule_off(machine, domain, now)


def _rule_off(machine: Machine, domain: DomainFacts, now: datetime) -> Ruling:
    if domain.reason is Reason.GUEST:
        is_settled = machine.off_since is not None and now - machine.off_since > OBEY_GUEST_AFTER
        return Ruling.OBEY_GUEST if is_settled else Ruling.AS_WANTED
    is_ours = domain.reason is Reason.DESTROYED and machine.was_loaded
    return Ruling.BRING_BACK if is_ours or domain.reason is Reason.UNKNOWN else Ruling.STOPPED_OUTSIDE


_WORDS = {
    Reason.DESTROYED: "its power was cut on the host",
    Reason.CRASHED: "its emulator crashed",
    Reason.FAILED: "it failed to start",
    Reason.SAVED: "its memory was saved to disk",
    Reason.MIGRATED: "it was migrated away",
    Reason.ASKED: "it was paused on the host",
    Reason.IO_ERROR: "it is paused, because its storage fails or is full",
    Reason.OTHER: "it was stopped on the host",
    Reason.UNKNOWN: "it did not come back with its host",
    Reason.NONE: "it was started on the host",
}


def finding(machine: Machine, domain: DomainFacts, host: HostRow, ruling: Ruling) -> Finding:
    """A card for STARTED_OUTSIDE and STOPPED_OUTSIDE, or for a machine that could not be brought back."""
    kind = Kind.STARTED_OUTSIDE if ruling is Ruling.STARTED_OUTSIDE else Kind.STOPPED_OUTSIDE
    powers = {"is": {"power": str(domain.power)}, "should": {"power": machine.wanted_power}}
    evidence = {**powers, "is_binned": machine.is_binned}
    place = " in the bin" if machine.is_binned else ""
    words = f"{machine.name}{place} is {domain.power}: {_WORDS.get(domain.reason, domain.reason)}"
    return Finding(kind, host.name, domain.name, words, host.id, machine.id, evidence)
