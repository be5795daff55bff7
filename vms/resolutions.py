"""What an administrator may do about a drift, and why not: one pure function for service, API and button."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from vms.audit.findings import Kind
from vms.models.drift import DriftState
from vms.states import ALLOWED, Verdict


class Resolution(StrEnum):
    """ADOPT makes the host's state the wanted one, RESTORE the wanted one the host's."""

    ADOPT = "adopt"
    RESTORE = "restore"
    CLEAN_UP = "clean-up"
    IGNORE = "ignore"
    REOPEN = "reopen"


@dataclass(frozen=True, slots=True)
class Facts:
    """All that decides."""

    kind: str
    state: str = DriftState.OPEN
    evidence: Mapping[str, Any] = field(default_factory=dict)
    busy_with: str = ""


_RESTORED = frozenset(
    {
        Kind.UNDEFINED_OUTSIDE,
        Kind.DEFINITION_CHANGED,
        Kind.STARTED_OUTSIDE,
        Kind.STOPPED_OUTSIDE,
        Kind.ADDRESS_MISSING,
        Kind.CLAIM_WRONG,
        Kind.POOL_UNAVAILABLE,
        Kind.NETWORK_UNAVAILABLE,
    }
)
_ADOPTED = frozenset({Kind.STARTED_OUTSIDE, Kind.STOPPED_OUTSIDE})
_CLEANED_UP = frozenset({Kind.DOMAIN_WITHOUT_VM, Kind.ADDRESS_WITHOUT_OWNER, Kind.CLAIM_WITHOUT_VM})
_VOLUMES = frozenset({Kind.VOLUME_WITHOUT_OWNER, Kind.UNFINISHED_VOLUME})


def verdicts(facts: Facts) -> dict[Resolution, Verdict]:
    return {resolution: verdict(resolution, facts) for resolution in Resolution}


def verdict(resolution: Resolution, facts: Facts) -> Verdict:
    if facts.state == DriftState.RESOLVED:
        return Verdict(False, "It is resolved.")
    if resolution is Resolution.IGNORE:
        return ALLOWED if facts.state == DriftState.OPEN else Verdict(False, "It is ignored already.")
    if resolution is Resolution.REOPEN:
        return ALLOWED if facts.state == DriftState.IGNORED else Verdict(False, "It is open.")
    if facts.busy_with:
        return Verdict(False, f"“{facts.busy_with}” is still under way.")
    reason = _WHY_NOT[resolution](facts)
    return Verdict(False, reason) if reason else ALLOWED


def _why_not_restore(facts: Facts) -> str:
    if (lost := facts.evidence.get("lost_disk")) and facts.kind != Kind.DISK_MISSING:
        return f"Its disk {lost} is missing. Put that back into the pool first, or let its owner delete the machine."
    if facts.kind in _RESTORED or facts.evidence.get("can_be_made"):
        return ""
    if facts.kind == Kind.DISK_MISSING and facts.evidence.get("is_image"):
        return "The next machine that is made of this image brings it back; or put the file back into the pool."
    if facts.kind == Kind.DISK_MISSING:
        return "What was on it is not here. Put the volume back into the pool, or let its owner delete the machine."
    if facts.kind == Kind.DISK_CHANGED:
        return "What was on it is not here. Put the disk back on the host, or let its owner delete the machine."
    if facts.kind == Kind.RUNNING_CHANGED:
        return "It goes when the machine is stopped and started again, which its owner does."
    if facts.kind == Kind.DUPLICATE_DOMAIN:
        return "Look on both hosts which one runs, and remove the other by hand: both write to the same name."
    if facts.kind == Kind.DUPLICATE_ADDRESS:
        return "Look on the host which of them is wanted, and shut down or change the other by hand."
    if facts.kind == Kind.DISK_LARGER:
        return "A disk cannot shrink without a loss. Adopt its size, or ignore this."
    return "There is nothing in the database to restore it from."


def _why_not_adopt(facts: Facts) -> str:
    if facts.kind in _ADOPTED and facts.evidence.get("is_binned"):
        return "Its owner deleted it; from the bin only they bring it back."
    if facts.kind in _ADOPTED or facts.evidence.get("size"):
        return ""
    if facts.kind == Kind.DEFINITION_CHANGED:
        return "Disks or network interfaces differ, and these cannot be taken over. Restore it, or ignore this."
    if facts.kind == Kind.RUNNING_CHANGED:
        return "Its definition has nothing of it to take over."
    if facts.kind in (Kind.UNDEFINED_OUTSIDE, Kind.DISK_MISSING, Kind.DISK_CHANGED):
        return "That would delete a tenant's machine, which its owner alone does."
    if facts.kind == Kind.DISK_LARGER:
        return (
            "Only a machine's first disk of whole GiB is taken over. Its owner grows another to the size that it has."
        )
    if facts.kind == Kind.FOREIGN_DOMAIN:
        return "It belongs to no tenant, and Berth does not know its disks."
    return "There is nothing of a machine in it to take over."


def _why_not_clean_up(facts: Facts) -> str:
    if facts.kind == Kind.DOMAIN_WITHOUT_VM and _power(facts) != "stopped" and not facts.evidence.get("is_helper"):
        return "It is not off. Look whose it is, and shut it down on its host first."
    if facts.evidence.get("user"):
        return f"{facts.evidence['user']} stands on it. Look first whose that is."
    if facts.kind in _CLEANED_UP or (facts.kind in _VOLUMES and facts.evidence.get("is_ours")):
        return ""
    if facts.kind in _VOLUMES:
        return "Its name is not one that Berth gives. Look on the host what it is."
    if facts.kind == Kind.FOREIGN_DOMAIN:
        return "It is not Berth's. Remove it on the host, or ignore it."
    return "What belongs to a tenant's machine is never removed from here."


def _power(facts: Facts) -> str:
    return str(facts.evidence.get("is", {}).get("power", "stopped"))


_WHY_NOT = {
    Resolution.ADOPT: _why_not_adopt,
    Resolution.RESTORE: _why_not_restore,
    Resolution.CLEAN_UP: _why_not_clean_up,
}
