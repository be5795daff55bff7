"""One round of deliveries, rung by beat: each webhook in a thread of its own, so that one that hangs holds up no other.

One round goes on at a time, in one process of a worker; further bells find the mark and leave. The mark is a hint in
the cache: two rounds at once do no harm, because each webhook is claimed.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import timedelta
from uuid import UUID

from django.core.cache import cache
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from portal.core.connection import released
from portal.events import feed_order
from portal.events.models import FeedEntry
from portal.webhooks.courier import DUE, FREE, deliver
from portal.webhooks.models import Delivery, Webhook

THREADS = 16
ROUND_SECONDS = 20.0
LOOK_SECONDS = 0.5
MARK, MARK_SECONDS = "berth:webhooks-round", 10
KEPT, KEPT_FOR = 1000, timedelta(days=30)  # of each webhook's log
logger = logging.getLogger(__name__)


def go_round(seconds: float = ROUND_SECONDS) -> None:
    """Deliver what is due, and what becomes due meanwhile, until there is nothing or the time is over."""
    if not cache.add(MARK, "1", MARK_SECONDS):
        return
    until, running = time.monotonic() + seconds, dict[UUID, Future[None]]()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="webhooks") as pool:
        while True:
            running = {id: each for id, each in running.items() if not each.done()}
            if time.monotonic() < until:
                for id in due()[: THREADS - len(running)]:
                    if id not in running:
                        running[id] = pool.submit(_deliver, id)
            if not running:
                break
            wait(running.values(), timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
            cache.set(MARK, "1", MARK_SECONDS)
    cache.delete(MARK)


def due() -> list[UUID]:
    """The webhooks that have something to send and nobody who sends it, those that waited longest first."""
    feed_order.give_places()
    entries = FeedEntry.objects.unscoped("deliveries").filter(sequence__gt=OuterRef("cursor"))
    news = Exists(entries.filter(tenant=OuterRef("tenant")))
    asked = Exists(Delivery.objects.filter(webhook=OuterRef("pk")).exclude(resend_asked_at=None))
    rows = Webhook.objects.unscoped("deliveries").filter(FREE, disabled_at=None)
    rows = rows.filter(Q(tenant=None) | Q(tenant__closed_at=None))
    of_provider = Q(tenant=None) & Exists(entries)
    return list(rows.filter(DUE & (of_provider | news) | asked).order_by("cursor").values_list("pk", flat=True))


def forget() -> None:
    """What of the log is kept no longer."""
    Delivery.objects.filter(at__lt=timezone.now() - KEPT_FOR).delete()
    for webhook in Webhook.objects.unscoped("deliveries").only("pk"):
        oldest = webhook.deliveries.values_list("sequence", flat=True)[KEPT - 1 : KEPT].first()
        if oldest is not None:
            webhook.deliveries.filter(sequence__lt=oldest).delete()


def _deliver(id: UUID) -> None:
    with released():
        try:
            deliver(id)
        except Exception:
            logger.exception("webhook %s", id)
