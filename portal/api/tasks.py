"""What the API does by the clock."""

from __future__ import annotations

from celery import shared_task

from portal.api import kept

BITE = 500


@shared_task  # type: ignore[untyped-decorator]
def forget_kept_answers() -> None:
    """In small bites: while one is taken, SQLite lets nobody else write."""
    while kept.forget(BITE) == BITE:
        pass
