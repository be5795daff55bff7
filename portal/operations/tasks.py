"""The bell: thin tasks that carry an id, or nothing."""

from __future__ import annotations

import gc
import os
import signal
from datetime import timedelta
from multiprocessing.sharedctypes import RawValue
from uuid import UUID

from celery import shared_task
from celery.signals import worker_init, worker_process_init, worker_ready, worker_shutting_down
from django.core.cache import cache
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from portal.operations import engine, heartbeat
from portal.operations.lease import CLAIMABLE, DUE, LEASE, is_free
from portal.operations.models import Operation
from portal.operations.services import ring

WORKER_SEEN = "berth:worker-seen"
RING_AGAIN_SECONDS = 10
MOST_AT_ONCE = 500


@shared_task  # type: ignore[untyped-decorator]
def run_operation(operation_id: str) -> None:
    """Garbage and unknown ids are dropped: the row is the truth, not the message."""
    try:
        found = UUID(operation_id)
    except (ValueError, AttributeError, TypeError):
        return
    engine.run(found)


@shared_task  # type: ignore[untyped-decorator]
def reap() -> None:
    """Ring again for what is due and has nobody: lost messages, dead workers, waits that are over.

    Not while an earlier bell may still be on its way: one that was heard ended in a lease or in a wait.
    """
    cache.set(WORKER_SEEN, timezone.now().isoformat(), timeout=30)
    lost = Q(rung_at=None) | Q(rung_at__lt=Now() - timedelta(seconds=RING_AGAIN_SECONDS))
    heard = Q(lease_until__gt=F("rung_at") + LEASE) | Q(not_before__gt=F("rung_at"), waits_for_slot=False)
    due = Operation.objects.unscoped("reaper").filter(DUE, lost | heard, state__in=CLAIMABLE)
    rows = due.annotate(now=Now()).order_by("created_at")[:MOST_AT_ONCE]
    orphans = [operation.pk for operation in rows if is_free(operation, operation.now)]
    Operation.objects.unscoped("reaper").filter(pk__in=orphans).update(rung_at=Now())
    for operation_id in orphans:
        ring(operation_id)


# Shared with the processes that the worker forks; no lock, which one of them could take into its grave.
_stopping = RawValue("b", 0)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop_at_next_safe_point(**_: object) -> None:
    _stopping.value = 1


@worker_init.connect  # type: ignore[untyped-decorator]
def _before_forking(**_: object) -> None:
    """What the parent has loaded the children share, as long as the garbage collector leaves it alone."""
    gc.collect()
    gc.freeze()


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _in_worker_process(**_: object) -> None:
    engine.is_shutting_down = lambda: bool(_stopping.value)
    heartbeat.end_process = lambda: os.kill(os.getpid(), signal.SIGKILL)


@worker_ready.connect  # type: ignore[untyped-decorator]
def _look_around(**_: object) -> None:
    """A worker that starts looks at once for what others left."""
    reap.apply_async(retry=False)
