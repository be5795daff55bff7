"""Who may work on an operation: a lease by the database's clock, and a fencing number that rises with each claim."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from portal.operations import lanes, worker
from portal.operations.models import Operation
from portal.operations.services import ring
from portal.operations.states import State

LEASE = timedelta(seconds=15)
LOOK_AGAIN_SECONDS = 1.0
CLAIMABLE = frozenset({State.QUEUED, State.RUNNING, State.UNWINDING})
# A wait that lasts longer than any does was written before the clock was set back.
LONGEST_WAIT = timedelta(minutes=5)
DUE = Q(not_before=None) | Q(not_before__lte=Now()) | Q(not_before__gt=Now() + LONGEST_WAIT)


class LeaseLost(Exception):
    """Another worker holds the operation now; this one must write nothing more."""


def claim(operation_id: UUID) -> Operation | None:
    """The operation, if it is due, nobody else works on it and its lane has a slot; the fence then is this worker's."""
    rows = Operation.objects.unscoped("engine").filter(pk=operation_id, state__in=CLAIMABLE)
    with transaction.atomic():
        found = rows.filter(DUE).annotate(now=Now()).first()
        if found is None or not is_free(found, found.now):
            return None
        before = _given_way_to(found)
        if any(each.is_active for each in before):
            rows.filter(fence=found.fence).update(**_wait_for(before))
            transaction.on_commit(lambda: ring(operation_id, after_seconds=LOOK_AGAIN_SECONDS))
            return None
        if not lanes.has_slot(found, found.now):
            rows.filter(fence=found.fence).update(**lanes.wait_for_slot(found, found.now))
            return None
        taken = rows.filter(fence=found.fence).update(
            fence=max([found.fence, *(each.fence for each in before)]) + 1,
            lease_owner=worker.own_name(),
            lease_until=Now() + LEASE,
            not_before=None,
            waits_for_slot=False,
            slot_since=None,
            **_first_claim(found),
            state=State.RUNNING if found.state == State.QUEUED else found.state,
        )
        return rows.get() if taken else None


def _given_way_to(found: Operation) -> list[Operation]:
    """What made room for it, or for another on the same objects. One that is only to be cancelled waits for nothing."""
    if found.started_at is not None or found.cancel_requested_at is not None:
        return []
    objects = [found.target_id, *found.holds.values_list("object_id", flat=True)]
    works_on = Q(target_id__in=objects) | Q(holds__object_id__in=objects)
    return list(Operation.objects.unscoped("engine").filter(works_on, gives_way=True).exclude(pk=found.pk).distinct())


def _wait_for(those: list[Operation]) -> dict[str, Any]:
    title = next(each.title for each in those if each.is_active)
    return {"waiting_for": f"“{title}” to give way", "not_before": Now() + timedelta(seconds=LOOK_AGAIN_SECONDS)}


def _first_claim(found: Operation) -> dict[str, datetime]:
    """The deadline counts from here: waiting for a worker or a slot is not the operation's own time."""
    if found.started_at is not None:
        return {}
    now = timezone.now()
    return {"started_at": now, "deadline_at": now + (found.deadline_at - found.created_at)}


def is_free(operation: Operation, now: datetime) -> bool:
    """Nobody holds it, the lease ran out, or its holder is known to be dead.

    A lease that lasts longer than any does is from before the clock was set back, and nobody has renewed it since.
    """
    until = operation.lease_until
    return until is None or not now <= until <= now + 2 * LEASE or worker.is_gone(operation.lease_owner)


def held(operation: Operation) -> Q:
    """The condition of every write: still the same holder."""
    return Q(pk=operation.pk, fence=operation.fence, lease_owner=operation.lease_owner)


def renew(operation: Operation) -> bool:
    """False where another worker holds it by now."""
    rows = Operation.objects.unscoped("engine").filter(held(operation))
    return bool(rows.update(lease_until=Now() + LEASE))
