"""What in a restored database speaks of a time that is over."""

from __future__ import annotations

from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import F

from portal.operations.lease import CLAIMABLE
from portal.operations.models import Operation

# Hosts remember the numbers of attempts that were made after the backup; those to come are to be higher.
_ATTEMPTS_SINCE = 1_000_000


@transaction.atomic
def settle() -> int:
    """Let the operations that were active go on, each with its whole time; sign everybody out. How many go on."""
    rows = Operation.objects.unscoped("restore")
    rows.update(fence=F("fence") + _ATTEMPTS_SINCE)
    nobody = {"lease_owner": "", "lease_until": None, "not_before": None, "rung_at": None, "waits_for_slot": False}
    active = list(rows.filter(state__in=CLAIMABLE))
    for operation in active:
        # A create that was cut short by the age of the backup would undo what its owner has used ever since.
        time = operation.deadline_at - (operation.started_at or operation.created_at)
        begin_anew = {"started_at": None, "deadline_at": operation.created_at + time}
        rows.filter(pk=operation.pk).update(**nobody, **begin_anew)
    Session.objects.all().delete()
    return len(active)
