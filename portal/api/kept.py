"""Acting once: what a request did and the answer to it are written in one transaction, so both are there or neither.

Whoever sends the same request meanwhile waits for that transaction and gets its answer. No cache has a part in this.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from portal.api.models import KeptAnswer

T = TypeVar("T")
KEPT_FOR = timedelta(hours=24)


def find(wanted: KeptAnswer) -> KeptAnswer | None:
    """The answer that is kept under the key of `wanted`, if it is not too old."""
    return _with_key_of(wanted).filter(created_at__gt=timezone.now() - KEPT_FOR).first()


def act_once(wanted: KeptAnswer, act: Callable[[], T], note: Callable[[T], bool]) -> T | KeptAnswer:
    """Act and keep the answer, or the row that another process kept since the caller looked.

    `note` writes the answer into `wanted`, or says False: then nothing is kept and the key is free again, as it is
    after an exception, with which everything is rolled back.
    """
    try:
        with transaction.atomic():
            _with_key_of(wanted).filter(created_at__lte=timezone.now() - KEPT_FOR).delete()
            wanted.save(force_insert=True)
            answer = act()
            if note(answer):
                wanted.save(update_fields=["status", "location", "body"])
            else:
                wanted.delete()
            return answer
    except IntegrityError:
        kept = find(wanted)
        if kept is None:
            raise
        return kept


def forget(most: int) -> int:
    """Remove up to `most` answers whose time is over; returns how many there were."""
    old = KeptAnswer.objects.filter(created_at__lte=timezone.now() - KEPT_FOR)
    return KeptAnswer.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:most])).delete()[0]


def _with_key_of(wanted: KeptAnswer) -> QuerySet[KeptAnswer]:
    return KeptAnswer.objects.filter(user=wanted.user, realm=wanted.realm, key=wanted.key)
