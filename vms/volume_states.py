"""Which actions a volume's state allows, and why not: one pure function for service, API and button."""

from __future__ import annotations

from dataclasses import dataclass
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
    """All that decides. `vm_name` and `vm_status` are "" where it is attached to nothing."""

    is_boot: bool = False
    vm_name: str = ""
    vm_status: str = ""
    has_snapshots: bool = False
    busy_with: str = ""


_BUILT = frozenset({"running", "paused", "stopped"})


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
    if facts.vm_name and facts.vm_status not in _BUILT:
        return f"Its machine is {facts.vm_status}."
    if action is VolumeAction.MOVE and facts.has_snapshots:
        return "Snapshots stand on where it lies. Delete them first, then move it."
    return ""


def _why_not_detach(facts: Facts) -> str:
    if not facts.vm_name:
        return "It is attached to no machine."
    if facts.is_boot:
        return "Its machine starts from it."
    if facts.vm_status == "paused":
        return "Resume the machine first: a paused guest cannot let go of a disk."
    if facts.vm_status not in _BUILT:
        return f"Its machine is {facts.vm_status}."
    return "Snapshots or linked clones of the machine have it. Delete them first." if facts.has_snapshots else ""


def _why_not_delete(facts: Facts) -> str:
    if facts.is_boot:
        return "It goes with its machine."
    return f"It is attached to {facts.vm_name}. Detach it first." if facts.vm_name else ""
