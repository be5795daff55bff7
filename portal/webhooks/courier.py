"""Delivery to one webhook: in order, one message at a time, by one worker at a time.

A worker claims the row by a conditional UPDATE that raises its fence; what it writes afterwards names that fence. A
message counts as taken once that is written: a worker that dies before it has the message sent again, and none is
passed over. A worker that stood still looks at its own clock before each message, so that it sends nothing late.
"""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from portal.core.outbound import ours
from portal.core.outbound.addresses import Policy
from portal.events import live, log
from portal.events.models import Event, FeedEntry, FeedHead
from portal.tenancy.gate import SYSTEM
from portal.webhooks import backoff, line, signing
from portal.webhooks.line import Line, Outcome
from portal.webhooks.message import body_of, id_of, wanted_by
from portal.webhooks.models import Delivery, DeliveryState, Webhook

LEASE = timedelta(seconds=60)
TURN_SECONDS = 15.0  # then others have theirs
MOST_AT_ONCE = 100
FREE = Q(lease_until=None) | Q(lease_until__lte=Now()) | Q(lease_until__gt=Now() + LEASE)  # a clock was set back
DUE = Q(next_at=None) | Q(next_at__lte=Now()) | Q(next_at__gt=Now() + backoff.LONGEST_PAUSE)
_rows = Webhook.objects.unscoped("deliveries")


class Lost(Exception):
    """Somebody else has the webhook now, or changed it."""


class Courier:
    """Holds the lease of one webhook."""

    def __init__(self, webhook: Webhook, claimed_at: float) -> None:
        self.webhook = webhook
        self._claimed_at = claimed_at
        self._mine = _rows.filter(pk=webhook.pk, fence=webhook.fence, disabled_at=None)

    def send_again(self, out: Line) -> None:
        """What people asked to have sent again, once each, whatever the rest waits for."""
        asked = self.webhook.deliveries.exclude(resend_asked_at=None).select_related("event__tenant")
        for delivery in asked.order_by("resend_asked_at")[:MOST_AT_ONCE]:
            outcome = self._send(out, delivery.event, delivery.sequence, delivery.previous)
            with transaction.atomic():
                self._write()
                self._note(delivery.event, delivery.sequence, delivery.previous, outcome, resend_asked_at=None)

    def send_on(self, out: Line) -> None:
        """What comes next, until there is nothing more, it is not taken, or others have waited long enough."""
        until = time.monotonic() + TURN_SECONDS
        while time.monotonic() < until:
            end = FeedHead.objects.get(pk=1).sequence
            entries = list(wanted_by(self.webhook).filter(sequence__gt=self.webhook.cursor)[:MOST_AT_ONCE])
            for entry in entries:
                if not self._send_next(out, entry) or time.monotonic() > until:
                    return
            if len(entries) < MOST_AT_ONCE:
                self._write(cursor=max(end, self.webhook.cursor))
                return

    def release(self) -> None:
        self._mine.update(lease_until=None)

    def _send_next(self, out: Line, entry: FeedEntry) -> bool:
        assert entry.sequence is not None
        previous = self.webhook.sent
        outcome = self._send(out, entry.event, entry.sequence, previous)
        with transaction.atomic():
            if outcome.is_taken:
                done = {"cursor": entry.sequence, "sent": entry.sequence}
                self._write(**done, failures=0, failing_since=None, next_at=None)
            else:
                self._write(**self._failed(outcome))
            self._note(entry.event, entry.sequence, previous, outcome)
        if outcome.is_taken:
            self.webhook.cursor = self.webhook.sent = entry.sequence
        return outcome.is_taken

    def _send(self, out: Line, event: Event, sequence: int, previous: int) -> Outcome:
        """Raises Lost where the lease may run out meanwhile."""
        if time.monotonic() > self._claimed_at + LEASE.total_seconds() - 2 * line.SECONDS:
            raise Lost
        body = body_of(event, sequence, previous, for_provider=self.webhook.tenant_id is None)
        return out.post(body, signing.headers(self.webhook, id_of(event), body))

    def _write(self, **values: object) -> None:
        """Under the fence, which extends the lease; raises Lost."""
        now = time.monotonic()
        if not self._mine.update(lease_until=Now() + LEASE, **values):
            raise Lost
        self._claimed_at = now

    def _failed(self, outcome: Outcome) -> dict[str, object]:
        now = timezone.now()
        since = self.webhook.failing_since or now
        why = backoff.why_given_up(since, now, outcome.status, outcome.detail)
        if why:
            log.record("webhook.given-up", actor=SYSTEM, target=self.webhook, detail=why)
        failures = self.webhook.failures + 1
        return {
            "failures": failures,
            "failing_since": since,
            "next_at": Now() + backoff.pause(failures, outcome.retry_after),
            "disabled_at": now if why else None,
            "disabled_for": why,
        }

    def _note(self, event: Event, sequence: int, previous: int, outcome: Outcome, **more: object) -> None:
        state = DeliveryState.DELIVERED if outcome.is_taken else DeliveryState.FAILED
        values = {
            **{"state": state, "at": timezone.now(), "status": outcome.status, "detail": outcome.detail},
            **{"milliseconds": outcome.milliseconds, **more},
        }
        rows = Delivery.objects.filter(webhook=self.webhook, event=event)
        if not rows.update(attempts=F("attempts") + 1, **values):
            place = {"event": event, "sequence": sequence, "previous": previous}
            Delivery.objects.create(webhook=self.webhook, **place, **values)
        live.tell(self.webhook.tenant_id, f"webhook:{self.webhook.pk}", "webhooks")


def deliver(webhook_id: UUID) -> None:
    """What is due at one webhook, where nobody else is about it."""
    courier = _claim(webhook_id)
    if courier is None:
        return
    try:
        with Line(courier.webhook.url, policy()) as out:
            courier.send_again(out)
            if _rows.filter(DUE, pk=webhook_id).exists():
                courier.send_on(out)
    except Lost:
        return
    courier.release()


def policy() -> Policy:
    return Policy(settings.WEBHOOK_URL_HTTP, frozenset(settings.WEBHOOK_URL_ALLOW), ours.all_of_ours())


def _claim(webhook_id: UUID) -> Courier | None:
    """The fence tells this claim from every other one, also where two read the row at the same time."""
    claimed_at = time.monotonic()
    found = _rows.filter(FREE, pk=webhook_id, disabled_at=None).values_list("fence", flat=True).first()
    if found is None:
        return None
    taken = _rows.filter(FREE, pk=webhook_id, fence=found).update(fence=found + 1, lease_until=Now() + LEASE)
    return Courier(_rows.get(pk=webhook_id), claimed_at) if taken else None
