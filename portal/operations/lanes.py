"""Slots: operations of one lane (a host) share a few workers, so that a slow or dead host holds up no other.

One process of a worker is kept for what has no lane (the reaper among it), and one more for other lanes. The slots
bound what a burst can take, and are looked at without a lock: two claims at the same instant may pass one too many.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from portal.operations import worker
from portal.operations.models import Operation
from portal.operations.states import ACTIVE

SLOTS_WHILE_DOWN = 1
LOOK_AGAIN = timedelta(seconds=1)


def slots_of_all() -> int:
    return max(int(settings.WORKER_PROCESSES) - 1, 1)


def slots_of_one() -> int:
    return max(int(settings.WORKER_PROCESSES) - 2, 1)


def slots_of_all_down() -> int:
    return max(slots_of_one() // 2, 1)


def has_slot(operation: Operation, now: datetime) -> bool:
    """Whether one more of its lane may be worked on; of lanes whose hosts do not answer, fewer."""
    if not operation.lane:
        return True
    rows = Operation.objects.unscoped("engine").filter(state__in=ACTIVE).exclude(pk=operation.pk).exclude(lane="")
    holders = rows.filter(lease_until__gt=now).values_list("lane", "lease_owner")
    held = Counter(lane for lane, owner in holders if not worker.is_gone(owner))
    down = set(rows.filter(is_lane_down=True).values_list("lane", flat=True))
    if operation.is_lane_down:
        down.add(operation.lane)
    if held.total() >= slots_of_all():
        return False
    if operation.lane not in down:
        return held[operation.lane] < slots_of_one()
    return held[operation.lane] < SLOTS_WHILE_DOWN and sum(held[lane] for lane in down) < slots_of_all_down()


def wait_for_slot(operation: Operation, now: datetime) -> dict[str, Any]:
    """What to write to an operation that finds no slot; it keeps the place that it has among those that wait."""
    words = "its turn: the workers are busy with other operations"
    place = {"slot_since": operation.slot_since or now}
    return {"waiting_for": words, "waits_for_slot": True, "not_before": now + LOOK_AGAIN, **place}


def host_answers(lane: str) -> None:
    """A step was done in the lane, so those that found its host away need wait no longer."""
    if lane:
        waiting = Operation.objects.unscoped("engine").filter(lane=lane, state__in=ACTIVE, is_lane_down=True)
        place = Coalesce("slot_since", Now())
        waiting.update(is_lane_down=False, waits_for_slot=True, slot_since=place, not_before=None)


def next_for_slot(lane: str) -> list[Operation]:
    """Whoever has waited longest for the slot that the lane gives back: in the lane itself, and in the others.

    The wait counts, not the age: one that looks again and again at a long copy comes after those it held up.
    """
    rows = Operation.objects.unscoped("engine").filter(state__in=ACTIVE, waits_for_slot=True)
    rows = rows.order_by(F("slot_since").asc(nulls_first=True), "created_at")
    waiting = [rows.filter(lane=lane).first(), rows.exclude(lane=lane).first()] if lane else []
    return [operation for operation in waiting if operation is not None]
