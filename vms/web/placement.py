"""A decision on where a machine runs, as its page shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hosts.choice import Constraint
from hosts.models import Placement
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import group_selectors as selectors
from vms.models import VM

MOST_HOSTS = 50  # of a constraint
_WORDS = {
    Constraint.STATE: "Take no machines",
    Constraint.NOT_READY: "Not ready",
    Constraint.UNREAD: "Not read since a restore",
    Constraint.AVOIDED: "To be left",
    Constraint.CLUSTER: "In clusters that the tenant may not use",
    Constraint.FIRMWARE: "Without the firmware",
    Constraint.PROCESSOR: "With another processor",
    Constraint.LABELS: "Without the labels",
    Constraint.STORAGE: "Do not reach the storage",
    Constraint.TOGETHER: "Not where its group is",
    Constraint.APART: "Have a machine that it is kept apart from",
    Constraint.CAPACITY: "Without room",
    Constraint.CLAIM: "Refused when it was claimed",
    Constraint.RANK: "Would have done, and came later",
}


@dataclass(frozen=True)
class Reason:
    words: str
    count: int
    hosts: list[tuple[str, str]]
    left_out: int


@dataclass(frozen=True)
class PlacementCard:
    at: datetime
    host: str
    reason: str
    considered: int
    reasons: list[Reason]


def latest(actor: Actor, vm: VM) -> PlacementCard | None:
    """None for tenants, to whom hosts are not named, and for machines from before decisions were kept."""
    if not actor.can(Permission.HOST_READ):
        return None
    found = selectors.placements(actor, vm).first()
    return _card(found) if found else None


def _card(found: Placement) -> PlacementCard:
    reasons = [
        Reason(
            words=_WORDS[constraint],
            count=len(hosts),
            hosts=sorted(hosts.items())[:MOST_HOSTS],
            left_out=max(len(hosts) - MOST_HOSTS, 0),
        )
        for constraint in Constraint
        if (hosts := found.refused.get(constraint))
    ]
    return PlacementCard(found.created_at, found.host_name, found.reason, found.considered, reasons)
