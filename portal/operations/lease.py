"""Who may work on an operation: a lease with a heartbeat, and a fencing number that rises with each claim."""

from __future__ import annotations

import logging
import os
import socket
import threading
from datetime import timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from portal.operations.models import Operation
from portal.operations.states import State

LEASE = timedelta(seconds=15)
HEARTBEAT_SECONDS = 4.0
logger = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another worker holds the operation now; this one must write nothing more."""


def worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def claim(operation_id: UUID) -> Operation | None:
    """The operation, if it is due and nobody else works on it; the fence then is this worker's own."""
    now = timezone.now()
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    due = Q(not_before=None) | Q(not_before__lte=now)
    rows = Operation.objects.unscoped("engine")
    with transaction.atomic():
        taken = rows.filter(
            free, due, pk=operation_id, state__in=[State.QUEUED, State.RUNNING, State.UNWINDING]
        ).update(
            fence=F("fence") + 1, lease_owner=worker_name(), lease_until=now + LEASE, not_before=None, waiting_for=""
        )
        if not taken:
            return None
        rows.filter(pk=operation_id, state=State.QUEUED).update(state=State.RUNNING)
        rows.filter(pk=operation_id, started_at=None).update(started_at=now)
        return rows.get(pk=operation_id)


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
