"""What a backup's state allows, and why not: pure, for service, API and button alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from vms.states import ALLOWED, Verdict


class BackupAction(StrEnum):
    RESTORE = "restore"
    RESTORE_AS_NEW = "restore-as-new"
    VERIFY = "verify"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """`why_not_vm` says why its machine cannot be restored now; "" where it can."""

    is_ready: bool
    busy_with: str
    damage: str
    has_children: bool
    why_not_vm: str


def verdict(action: BackupAction, facts: BackupFacts) -> Verdict:
    if facts.busy_with:
        return Verdict(False, f"“{facts.busy_with}” is still under way.")
    if not facts.is_ready:
        return Verdict(False, "It is not complete.")
    if facts.damage and action in (BackupAction.RESTORE, BackupAction.RESTORE_AS_NEW):
        return Verdict(False, f"It is damaged: {facts.damage}")
    if action is BackupAction.RESTORE and facts.why_not_vm:
        return Verdict(False, facts.why_not_vm)
    if action is BackupAction.DELETE and facts.damage and facts.has_children:
        return Verdict(False, "It is damaged, and later backups stand on it. Delete those first.")
    return ALLOWED


def verdicts(facts: BackupFacts) -> Mapping[BackupAction, Verdict]:
    return {action: verdict(action, facts) for action in BackupAction}
