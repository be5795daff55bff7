"""Deliveries by the clock: beat is the bell, the rows are the truth."""

from __future__ import annotations

from celery import shared_task

from portal.webhooks import round


@shared_task  # type: ignore[untyped-decorator]
def deliver() -> None:
    round.go_round()


@shared_task  # type: ignore[untyped-decorator]
def forget_deliveries() -> None:
    round.forget()
