"""Mail on leases: one to each person with all that is to be told, at least once, and until the server takes it."""

from __future__ import annotations

import logging
import smtplib
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import Q, QuerySet
from django.template.loader import render_to_string

from portal.accounts.models import User
from vms.lease import Stage
from vms.lease_words import HEADLINES
from vms.models import LeaseNotice

# Whoever claimed a mail and was not heard of since has died: it is sent again, rather than not at all.
LOST_AFTER = timedelta(minutes=10)
MOST_PEOPLE, MOST_IN_A_MAIL = 100, 50
logger = logging.getLogger(__name__)


def send(now: datetime) -> None:
    waiting = _untold(now).order_by("user_id").values_list("user_id", flat=True).distinct()
    for user_id in list(waiting[:MOST_PEOPLE]):
        _send_to(user_id, now)


def _untold(now: datetime) -> QuerySet[LeaseNotice]:
    is_free = Q(claimed_at=None) | Q(claimed_at__lt=now - LOST_AFTER)
    return LeaseNotice.objects.filter(is_free, told_at=None, refusal="")


def _send_to(user_id: UUID, now: datetime) -> None:
    notices = _claimed(user_id, now)
    if not notices:
        return
    rows = LeaseNotice.objects.filter(pk__in=[notice.pk for notice in notices])
    try:
        _send(User.objects.get(pk=user_id), notices)
    except smtplib.SMTPRecipientsRefused as error:
        rows.update(refusal=f"{error}"[:300])
    except (OSError, smtplib.SMTPException) as error:
        logger.warning("a mail on %s leases was not sent: %s", len(notices), error)
        rows.update(claimed_at=None)
    else:
        rows.update(told_at=now)


@transaction.atomic
def _claimed(user_id: UUID, now: datetime) -> list[LeaseNotice]:
    """Of machines of tenants that they left meanwhile they are told nothing."""
    LeaseNotice.objects.filter(user_id=user_id).exclude(vm__tenant__memberships__user_id=user_id).delete()
    rows = _untold(now).filter(user_id=user_id).select_for_update()
    ids = [notice.pk for notice in rows[:MOST_IN_A_MAIL]]
    LeaseNotice.objects.filter(pk__in=ids).update(claimed_at=now)
    return list(LeaseNotice.objects.filter(pk__in=ids).select_related("vm__tenant"))


def _send(user: User, notices: list[LeaseNotice]) -> None:
    told = [{"notice": notice, "headline": HEADLINES[Stage(notice.stage)]} for notice in notices]
    words = render_to_string("mail/lease.txt", {"told": told, "root": settings.PUBLIC_URL})
    first = f"{notices[0].vm.name}: {HEADLINES[Stage(notices[0].stage)]}"
    subject = first if len(notices) == 1 else f"{first}, and {len(notices) - 1} more"
    send_mail(subject, words, settings.DEFAULT_FROM_EMAIL, [user.email])
