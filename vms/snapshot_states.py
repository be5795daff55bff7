"""What may be done with a snapshot, why not, and what it does: one pure place for service, API and page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from vms.states import ALLOWED, Verdict


class SnapshotAction(StrEnum):
    REVERT = "revert"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """`state` is the snapshot's own, `status` its machine's; `busy_with` what is under way with the machine."""

    state: str
    status: str
    busy_with: str = ""


_STATUSES = frozenset({"running", "paused", "stopped"})


def verdict(action: SnapshotAction, facts: SnapshotFacts) -> Verdict:
    if facts.status == "deleting":
        return Verdict(False, "Its machine is being deleted.")
    if facts.busy_with:
        return Verdict(False, f"“{facts.busy_with}” is still under way.")
    if facts.status not in _STATUSES:
        return Verdict(False, f"Its machine is in the state “{facts.status}”.")
    if facts.state == "broken" and action is SnapshotAction.REVERT:
        return Verdict(False, "Its data is no longer whole: its deletion was begun. Delete it again.")
    if facts.state not in ("ready", "broken"):
        return Verdict(False, "It is being taken." if facts.state == "taking" else "It is being deleted.")
    return ALLOWED


def verdicts(facts: SnapshotFacts) -> dict[SnapshotAction, Verdict]:
    return {action: verdict(action, facts) for action in SnapshotAction}


def why_no_memory(then: Mapping[str, object], now: Mapping[str, object]) -> str:
    """Why a machine cannot go on from the memory of a snapshot; "" where it can. Keys: vcpus, memory_mib, disks."""
    if (then["vcpus"], then["memory_mib"]) != (now["vcpus"], now["memory_mib"]):
        return "the machine has another size since"
    return "" if then["disks"] == now["disks"] else "the machine has other disks since"


def what_revert_does(power: str, has_memory: bool, why_not: str) -> str:
    """In one sentence for who is about to do it. `power` is the machine's now."""
    if has_memory and not why_not:
        return "It goes on exactly where it was, running, with the memory of that moment."
    lost = f" Its memory is not restored: {why_not}." if has_memory else ""
    if power == "stopped":
        return f"It stays off; its disks are as they were.{lost}"
    return f"It is cut off, its disks are as they were, and it starts again.{lost}"
