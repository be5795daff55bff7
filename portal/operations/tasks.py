"""The bell: thin tasks that carry an id, or nothing."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from celery import shared_task
from celery.signals import worker_ready
from django.core.cache import cache
from django.db.models import Q
from django.utils import timezone

from portal.operations import engine
from portal.operations.lease import is_free
from portal.operations.models import Operation
from portal.operations.services import ring
from portal.operations.states import State

WORKER_SEEN = "berth:worker-seen"
RING_AGAIN_SECONDS = 10
MOST_AT_ONCE = 500


@shared_task  # type: ignore[untyped-decorator]
def run_operation(operation_id: str) -> None:
    """Garbage and unknown ids are dropped: the row is the truth, not the message."""
    try:
        engine.run(UUID(operation_id))
    except (ValueError, AttributeError, TypeError):
        return


@shared_task  # type: ignore[untyped-decorator]
def reap() -> None:
    """Ring again for what is due and has nobody: lost messages, dead workers, waits that are over."""
    cache.set(WORKER_SEEN, timezone.now().isoformat(), timeout=30)
    now = timezone.now()
    unheard = Q(rung_at=None) | Q(rung_at__lt=now - timedelta(seconds=RING_AGAIN_SECONDS))
    due = Q(not_before=None) | Q(not_before__lte=now)
    waiting = Q(state=State.QUEUED) & (unheard | Q(not_before__lte=now))
    begun = Q(state__in=[State.RUNNING, State.UNWINDING])
    rows = Operation.objects.unscoped("reaper").filter(due, waiting | begun).order_by("created_at")
    orphans = [operation.pk for operation in rows[:MOST_AT_ONCE] if is_free(operation, now)]
    Operation.objects.unscoped("reaper").filter(pk__in=orphans).update(rung_at=now)
    for operation_id in orphans:
        ring(operation_id)


@worker_ready.connect  # type: ignore[untyped-decorator]
def _look_around(**_: object) -> None:
    """A worker that starts looks at once for what others left."""
    reap.apply_async(retry=False)
