"""What happens to quotas by the clock."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from portal.quotas import requests


@shared_task  # type: ignore[untyped-decorator]
def tell_ended_increases() -> None:
    requests.tell_ends(timezone.now())
