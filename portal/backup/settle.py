"""What in a restored database speaks of a time that is over."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import BigIntegerField, F, Value
from django.db.models.functions import Greatest

from portal.events import feed_order
from portal.operations.lease import CLAIMABLE
from portal.operations.models import Operation

# What apps above do in the same transaction.
listeners: list[Callable[[], object]] = []


@transaction.atomic
def settle() -> int:
    """Let the operations that were active go on, each with its whole time; sign everybody out. How many go on."""
    rows = Operation.objects.unscoped("restore")
    # Hosts remember the attempts that were made since the backup, also those after an earlier restore of the same one.
    # No attempts follow each other as fast as milliseconds do, so those to come have higher numbers than any of them.
    rows.update(fence=Greatest(F("fence") + 1, Value(time.time_ns() // 1_000_000, BigIntegerField())))
    nobody = {"lease_owner": "", "lease_until": None, "not_before": None, "rung_at": None, "waits_for_slot": False}
    active = list(rows.filter(state__in=CLAIMABLE))
    for operation in active:
        # A create that was cut short by the age of the backup would undo what its owner has used ever since.
        whole = operation.deadline_at - (operation.started_at or operation.created_at)
        begin_anew = {"started_at": None, "deadline_at": operation.created_at + whole}
        rows.filter(pk=operation.pk).update(**nobody, **begin_anew)
    Session.objects.all().delete()
    feed_order.leap()
    for listener in listeners:
        listener()
    return len(active)
