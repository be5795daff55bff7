"""Leases in words: for mails, pages and the log."""

from __future__ import annotations

from datetime import datetime

from vms.lease import Stage, Terms, next_at
from vms.models import VM

HEADLINES = {
    Stage.WARNED: "its lease ends soon",
    Stage.KEPT: "its lease has ended, and it is off",
    Stage.BINNED: "it goes to the bin",
}


def told(vm: VM, terms: Terms, detail: str = "") -> str:
    """What is said of the stage that a machine's lease is in."""
    words = _STAGES[Stage(vm.lease_stage)](vm, terms)
    return f"{words} {detail}".strip()


def _warned(vm: VM, terms: Terms) -> str:
    return f"It is stopped on {_time(vm, terms)}, unless somebody extends its lease."


def _ended(vm: VM, terms: Terms) -> str:
    return "It is being stopped, and can be started again once somebody extends its lease."


def _kept(vm: VM, terms: Terms) -> str:
    if vm.is_protected:
        return "It is off until somebody extends its lease; as it is protected it does not go to the bin."
    return f"It goes to the bin on {_time(vm, terms)}, unless somebody extends its lease."


def _binned(vm: VM, terms: Terms) -> str:
    return "It goes to the bin, from where it can be restored."


_STAGES = {Stage.WARNED: _warned, Stage.ENDED: _ended, Stage.KEPT: _kept, Stage.BINNED: _binned}


def _time(vm: VM, terms: Terms) -> str:
    assert vm.lease is not None
    due = next_at(vm.lease, terms)
    assert due is not None
    return moment(due)


def moment(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M} UTC"
