"""Decisions on where machines run, as pages show them to the provider's staff."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hosts import resources
from hosts.choice import RESOURCES, Constraint
from hosts.models import Placement

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
    """`host` is "" where none was taken; `reason` is then what was told."""

    at: datetime
    title: str
    host: str
    reason: str
    wanted: str
    considered: int
    reasons: list[Reason]


def card(found: Placement) -> PlacementCard:
    refused = found.reasons
    return PlacementCard(
        at=found.created_at,
        title=found.title,
        host=found.host_name,
        reason=found.reason,
        wanted=_wanted(found.wanted),
        considered=found.considered,
        reasons=[_reason(constraint, hosts) for constraint in Constraint if (hosts := refused.get(constraint))],
    )


def _reason(constraint: Constraint, hosts: Mapping[str, str]) -> Reason:
    return Reason(
        words=_WORDS[constraint],
        count=len(hosts),
        hosts=sorted(hosts.items())[:MOST_HOSTS],
        left_out=max(len(hosts) - MOST_HOSTS, 0),
    )


def _wanted(asked: Mapping[str, Any]) -> str:
    """2 vCPUs, 4096 MiB of memory, 20 GiB of disk, labels ssd."""
    parts = [resources.amount(name, asked[name]) for name in RESOURCES if name in asked]
    parts += [f"{name} {', '.join(asked[name])}" for name in ("labels", "groups") if asked.get(name)]
    return ", ".join(parts)
