"""Who may work on an operation: a lease with a heartbeat, and a fencing number that rises with each claim."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from portal.operations import worker
from portal.operations.models import Operation
from portal.operations.states import State

LEASE = timedelta(seconds=15)
HEARTBEAT_SECONDS = 4.0
CLAIMABLE = frozenset({State.QUEUED, State.RUNNING, State.UNWINDING})
logger = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another worker holds the operation now; this one must write nothing more."""


def claim(operation_id: UUID) -> Operation | None:
    """The operation, if it is due and nobody else works on it; the fence then is this worker's own."""
    now = timezone.now()
    rows = Operation.objects.unscoped("engine").filter(pk=operation_id, state__in=CLAIMABLE)
    with transaction.atomic():
        found = rows.filter(Q(not_before=None) | Q(not_before__lte=now)).first()
        if found is None or not is_free(found, now):
            return None
        taken = rows.filter(fence=found.fence).update(
            fence=F("fence") + 1,
            lease_owner=worker.own_name(),
            lease_until=now + LEASE,
            not_before=None,
            waiting_for="",
            started_at=found.started_at or now,
            state=State.RUNNING if found.state == State.QUEUED else found.state,
        )
        return rows.get() if taken else None


def is_free(operation: Operation, now: datetime) -> bool:
    """Nobody holds it, the lease ran out, or its holder is known to be dead."""
    until = operation.lease_until
    return until is None or until < now or worker.is_gone(operation.lease_owner)


def held(operation: Operation) -> Q:
    """The condition of every write: still the same holder."""
    return Q(pk=operation.pk, fence=operation.fence, lease_owner=operation.lease_owner)


class Heartbeat:
    """Renews the lease from a thread of its own while the work goes on; `lost` is set when that fails.

    Short operations end before its first beat, so they never pay for a second database connection.
    """

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease-{operation.pk}", daemon=True)
        self.lost = False

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join(timeout=HEARTBEAT_SECONDS)

    def check(self) -> None:
        if self.lost:
            raise LeaseLost(str(self._operation.pk))

    def _beat(self) -> None:
        try:
            while not self._stop.wait(HEARTBEAT_SECONDS):
                if not self._renew():
                    self.lost = True
                    return
        finally:
            connection.close()

    def _renew(self) -> bool:
        try:
            rows = Operation.objects.unscoped("engine").filter(held(self._operation))
            return bool(rows.update(lease_until=timezone.now() + LEASE))
        except Exception as error:  # the database is away: keep trying until the lease itself runs out
            logger.warning("heartbeat of %s: %s", self._operation.pk, error)
            return True
