"""The order of the feed: that in which events became visible.

Ids are given when an event is written, and a transaction with a lower one may be committed later. Whoever follows the
log by id would pass it over. So each event is committed without a place, and gets one once it can be seen: what was
given before is never followed by something that belongs in between, and of two events of which one led to the other,
the cause comes first.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from django.db import transaction
from django.db.models import BigIntegerField, F, Value
from django.db.models.functions import Greatest

from portal.events.models import Event, FeedEntry, FeedHead

MOST_AT_ONCE = 1000


def enter(events: Iterable[Event]) -> None:
    """In the transaction of the events."""
    FeedEntry.objects.bulk_create(FeedEntry(event=event, tenant_id=event.tenant_id) for event in events)


def give_places() -> int:
    """To all events that can be seen and have none. How far the feed goes then."""
    waiting = FeedEntry.objects.unscoped("the feed").filter(sequence=None)
    while waiting.exists():
        _give_places(MOST_AT_ONCE)
    return FeedHead.objects.get_or_create(pk=1)[0].sequence


@transaction.atomic
def _give_places(most: int) -> None:
    FeedHead.objects.get_or_create(pk=1)
    head = FeedHead.objects.select_for_update().get(pk=1)
    # only now, under the lock: what others have placed meanwhile is seen
    rows = FeedEntry.objects.unscoped("the feed").filter(sequence=None).order_by("event_id")[:most]
    entries = list(rows)
    for entry in entries:
        head.sequence += 1
        entry.sequence = head.sequence
    FeedEntry.objects.unscoped("the feed").bulk_update(entries, ["sequence"], batch_size=200)
    head.save(update_fields=["sequence"])


def leap() -> None:
    """After a restore: places to come are higher than any that was given since the backup.

    None are given faster than milliseconds pass. Whoever follows the feed sees a gap, and that is what it is.
    """
    FeedHead.objects.get_or_create(pk=1)
    now = Value(time.time_ns() // 1_000_000, BigIntegerField())
    FeedHead.objects.filter(pk=1).update(sequence=Greatest(F("sequence") + 1, now))
