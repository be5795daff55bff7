"""Which actions a machine's state allows, and why not: one pure function for service, API and button."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    START = "start"
    STOP = "stop"
    REBOOT = "reboot"
    FORCE_OFF = "force-off"
    PAUSE = "pause"
    RESUME = "resume"
    RESIZE = "resize"
    CLONE = "clone"
    MIGRATE = "migrate"
    ATTACH_VOLUME = "attach-volume"
    PUBLISH = "publish"
    BACK_UP = "back-up"
    RESTORE_BACKUP = "restore-backup"
    SNAPSHOT = "snapshot"
    RENAME = "rename"
    CONSOLE = "console"
    PROTECT = "protect"
    UNPROTECT = "unprotect"
    EXTEND = "extend"
    DELETE = "delete"
    RESTORE = "restore"
    PURGE = "purge"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an action may be taken now; `reason` says why not."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that decides: the public status, what runs and whether it only reads the machine, and the flags.

    `is_binned`: it was deleted, and can still be brought back, unless its status is error: then its end was begun.
    `has_host_failed`: nothing is asked of its host. `has_lease`: it has an expiry date. `is_lease_over`: that is past.
    """

    status: str
    busy_with: str = ""
    is_only_read: bool = False
    is_protected: bool = False
    is_binned: bool = False
    has_host_failed: bool = False
    has_lease: bool = False
    is_lease_over: bool = False


ALLOWED = Verdict(True)

_WHEN: Mapping[Action, tuple[frozenset[str], str]] = {
    Action.START: (frozenset({"stopped"}), "It can be started when it is stopped."),
    Action.STOP: (frozenset({"running"}), "It can be stopped while it is running."),
    Action.REBOOT: (frozenset({"running"}), "It can be rebooted while it is running."),
    Action.FORCE_OFF: (frozenset({"running", "paused"}), "It can be forced off while it is running."),
    Action.PAUSE: (frozenset({"running"}), "It can be paused while it is running."),
    Action.RESUME: (frozenset({"paused"}), "It is not paused."),
    Action.RESIZE: (frozenset({"stopped"}), "Stop it first: its size changes while it is off."),
    Action.CLONE: (frozenset({"running", "paused", "stopped"}), "Wait until it is built."),
    Action.MIGRATE: (frozenset({"running", "paused", "stopped"}), "It can be moved to another host once it is built."),
    Action.ATTACH_VOLUME: (frozenset({"running", "paused", "stopped"}), "Wait until it is built."),
    Action.PUBLISH: (frozenset({"running", "paused", "stopped"}), "Wait until it is built."),
    Action.BACK_UP: (frozenset({"running", "paused", "stopped"}), "Wait until it is built."),
    Action.RESTORE_BACKUP: (frozenset({"running", "paused", "stopped", "error"}), "Wait until it is built."),
    Action.SNAPSHOT: (frozenset({"running", "paused", "stopped"}), "Wait until it is built."),
    Action.RENAME: (frozenset({"running", "paused", "stopped", "error"}), "Wait until it is built."),
    Action.CONSOLE: (frozenset({"running", "paused"}), "Start it first: a console needs a running machine."),
    Action.PROTECT: (frozenset({"running", "paused", "stopped", "error"}), "Wait until it is built."),
    Action.UNPROTECT: (frozenset({"running", "paused", "stopped", "error"}), "Wait until it is built."),
    Action.EXTEND: (frozenset({"building", "running", "paused", "stopped", "error"}), ""),
    Action.DELETE: (frozenset({"running", "paused", "stopped", "error"}), "Wait until it is built, or cancel that."),
}
# What the machine is when the action has done its work.
_AIM: Mapping[Action, str] = {
    Action.START: "running",
    Action.STOP: "stopped",
    Action.FORCE_OFF: "stopped",
    Action.PAUSE: "paused",
    Action.RESUME: "running",
}
_IN_THE_BIN = frozenset({Action.RESTORE, Action.PURGE})
_IN_THE_BIN_WHOLE = frozenset({Action.RESTORE, Action.MIGRATE})  # its host may have to be emptied
# These change no machine on a host, so a running operation is no obstacle.
_BESIDE_OTHERS = frozenset({Action.CONSOLE, Action.PROTECT, Action.UNPROTECT, Action.RENAME, Action.EXTEND})
# These ask nothing of its host; what a deleted one left there is removed when that is back.
_WITHOUT_HOST = frozenset({Action.PROTECT, Action.UNPROTECT, Action.RENAME, Action.EXTEND, Action.DELETE, Action.PURGE})
# These only read it as well.
_BESIDE_READERS = frozenset({Action.CLONE, Action.PUBLISH})


def verdict(action: Action, facts: Facts) -> Verdict:
    if facts.has_host_failed and action not in _WITHOUT_HOST:
        return Verdict(False, "Its host has failed. Wait until it runs on another one, or its host is back.")
    if facts.is_binned:
        return _in_the_bin(action, facts)
    if action in _IN_THE_BIN:
        return Verdict(False, "It is not in the bin.")
    if facts.status == "deleting":
        return Verdict(False, "It is being deleted.")
    if facts.busy_with and action not in _BESIDE_OTHERS and not (facts.is_only_read and action in _BESIDE_READERS):
        return Verdict(False, f"“{facts.busy_with}” is still under way.")
    statuses, otherwise = _WHEN[action]
    if is_already(action, facts.status):
        return Verdict(False, f"It is {facts.status} already.")
    if facts.status not in statuses:
        return Verdict(False, otherwise)
    return _flags(action, facts)


def _in_the_bin(action: Action, facts: Facts) -> Verdict:
    if facts.busy_with:
        return Verdict(False, f"“{facts.busy_with}” is still under way.")
    is_whole = facts.status == "deleting"
    if action is Action.PURGE or (action in _IN_THE_BIN_WHOLE and is_whole):
        return ALLOWED
    if action is Action.RESTORE:
        return Verdict(False, "Its end was begun and did not succeed: something of it is gone.")
    return Verdict(False, "It is in the bin; restore it first.")


def is_already(action: Action, status: str) -> bool:
    """Whether a machine of this status is as the action would make it."""
    return _AIM.get(action) == status


def _flags(action: Action, facts: Facts) -> Verdict:
    if action is Action.DELETE and facts.is_protected:
        return Verdict(False, "It is protected against deletion; remove the protection first.")
    if action is Action.PROTECT and facts.is_protected:
        return Verdict(False, "It is protected already.")
    if action is Action.UNPROTECT and not facts.is_protected:
        return Verdict(False, "It is not protected.")
    return _of_lease(action, facts)


def _of_lease(action: Action, facts: Facts) -> Verdict:
    if action is Action.EXTEND and not facts.has_lease:
        return Verdict(False, "It has no expiry date.")
    if action in (Action.START, Action.RESUME) and facts.is_lease_over:
        return Verdict(False, "Its lease has ended; extend it first.")
    return ALLOWED


def verdicts(facts: Facts) -> dict[Action, Verdict]:
    return {action: verdict(action, facts) for action in Action}
