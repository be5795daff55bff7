"""The clocks of the machines that Berth runs on: almost in step, and now and then set back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import connection
from django.utils import timezone

APART = timedelta(seconds=5)  # at most


def latest() -> datetime:
    """The latest time that anybody can have written by now. A later one is from before a clock was set back."""
    return timezone.now() + APART


def database_now() -> datetime:
    """By the one clock that all processes have in common; to the millisecond on SQLite."""
    clock = {"postgresql": "clock_timestamp()", "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now')"}[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {clock}")
        (now,) = cursor.fetchone()
    return now if isinstance(now, datetime) else datetime.fromisoformat(now).replace(tzinfo=UTC)
