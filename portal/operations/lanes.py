"""Slots: operations of one lane (a host) share a few workers, so that a slow or dead host holds up no other.

The figures go with the four processes of a worker (deploy/supervisor.py). They bound what a burst can take, and are
looked at without a lock: two claims at the same instant may pass one slot too many.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from portal.operations import worker
from portal.operations.models import Operation
from portal.operations.states import ACTIVE

SLOTS = 3
SLOTS_WHILE_DOWN = 1
SLOTS_OF_ALL_DOWN = 2
LOOK_AGAIN = timedelta(seconds=1)


def has_slot(operation: Operation, now: datetime) -> bool:
    """Whether one more of its lane may be worked on. A lane whose host does not answer gets one; all such, two."""
    if not operation.lane:
        return True
    rows = Operation.objects.unscoped("engine").filter(state__in=ACTIVE).exclude(pk=operation.pk).exclude(lane="")
    holders = rows.filter(lease_until__gt=now).values_list("lane", "lease_owner")
    held = Counter(lane for lane, owner in holders if not worker.is_gone(owner))
    down = set(rows.filter(is_lane_down=True).values_list("lane", flat=True))
    if operation.is_lane_down:
        down.add(operation.lane)
    if operation.lane not in down:
        return held[operation.lane] < SLOTS
    return held[operation.lane] < SLOTS_WHILE_DOWN and sum(held[lane] for lane in down) < SLOTS_OF_ALL_DOWN


def wait_for_slot(now: datetime) -> dict[str, Any]:
    """What to write to an operation that finds no slot."""
    words = "its turn: its host is busy with other operations"
    return {"waiting_for": words, "waits_for_slot": True, "not_before": now + LOOK_AGAIN}


def host_answers(lane: str) -> None:
    """A step was done in the lane, so those that found its host away need wait no longer."""
    if lane:
        waiting = Operation.objects.unscoped("engine").filter(lane=lane, state__in=ACTIVE, is_lane_down=True)
        waiting.update(is_lane_down=False, waits_for_slot=True, not_before=None)


def next_in(lane: str) -> Operation | None:
    """The one that has waited longest for a slot of the lane."""
    rows = Operation.objects.unscoped("engine").filter(lane=lane, state__in=ACTIVE, waits_for_slot=True)
    return rows.order_by("created_at").first() if lane else None
