"""What happens to machines by the clock."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from vms.scheduling.turn import turn


@shared_task  # type: ignore[untyped-decorator]
def look_at_schedules() -> None:
    turn(timezone.now())
