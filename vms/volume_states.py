"""Which actions a volume's state allows, and why not: one pure function for service, API and button."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from vms.states import ALLOWED, Verdict


class VolumeAction(StrEnum):
    ATTACH = "attach"
    DETACH = "detach"
    GROW = "grow"
    MOVE = "move"
    RENAME = "rename"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Facts:
    """All that decides. `vm_name` and `vm_status` are "" where it is attached to nothing.

    `vm_purge_at` is when its machine leaves the bin for good, None where it does not lie there.
    """

    is_boot: bool = False
    vm_name: str = ""
    vm_status: str = ""
    vm_purge_at: datetime | None = None
    has_snapshots: bool = False
    busy_with: str = ""


_BUILT = frozenset({"running", "paused", "stopped"})
_OTHERWISE = {"building": "being built", "deleting": "being deleted", "error": "in error"}


def verdicts(facts: Facts) -> dict[VolumeAction, Verdict]:
    return {action: verdict(action, facts) for action in VolumeAction}


def verdict(action: VolumeAction, facts: Facts) -> Verdict:
    if action is VolumeAction.RENAME:
        return ALLOWED
    if facts.busy_with:
        return Verdict(False, f"“{facts.busy_with}” is still under way.")
    reason = _why_not(action, facts)
    return Verdict(False, reason) if reason else ALLOWED


def _why_not(action: VolumeAction, facts: Facts) -> str:
    if action is VolumeAction.ATTACH:
        return f"It is attached to {facts.vm_name}." if facts.vm_name else ""
    if action is VolumeAction.DETACH:
        return _why_not_detach(facts)
    if action is VolumeAction.DELETE:
        return _why_not_delete(facts)
    if reason := _why_not_of_machine(facts):
        return reason
    if action is VolumeAction.MOVE and facts.has_snapshots:
        return "Snapshots or linked clones of the machine stand on where it lies. Delete them first, then move it."
    return ""


def _why_not_of_machine(facts: Facts) -> str:
    if facts.vm_purge_at is not None:
        until = f"{facts.vm_purge_at:%Y-%m-%d %H:%M} UTC"
        return f"Its machine is in the bin until {until}. Restore the machine, or delete it for good, first."
    if facts.vm_name and facts.vm_status not in _BUILT:
        return f"Its machine is {_OTHERWISE[facts.vm_status]}."
    return ""


def _why_not_detach(facts: Facts) -> str:
    if not facts.vm_name:
        return "It is attached to no machine."
    if facts.is_boot:
        return "Its machine starts from it."
    if facts.vm_status == "paused":
        return "Resume the machine first: a paused guest cannot let go of a disk."
    if reason := _why_not_of_machine(facts):
        return reason
    return "Snapshots or linked clones of the machine have it. Delete them first." if facts.has_snapshots else ""


def _why_not_delete(facts: Facts) -> str:
    if facts.is_boot:
        return "It goes with its machine."
    if facts.vm_purge_at is not None:
        return _why_not_of_machine(facts)
    return f"It is attached to {facts.vm_name}. Detach it first." if facts.vm_name else ""
