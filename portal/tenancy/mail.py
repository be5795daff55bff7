"""Mail about tenants, written by the worker."""

from __future__ import annotations

import logging
import smtplib
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.utils import timezone

from portal.tenancy.invitations import text_of
from portal.tenancy.models import Invitation

TRY_AGAIN_AFTER = timedelta(minutes=1)
MOST_AT_ONCE = 100
logger = logging.getLogger(__name__)


def send_invitation(invitation_id: UUID) -> None:
    """Once, whoever else is about to: the row is claimed first. Given back where the server does not take it."""
    now = timezone.now()
    open_rows = Invitation.objects.filter(accepted_at=None, revoked_at=None, expires_at__gt=now)
    if not open_rows.filter(pk=invitation_id, sent_at=None).update(sent_at=now):
        return
    invitation = Invitation.objects.select_related("tenant", "invited_by").get(pk=invitation_id)
    try:
        _send(invitation)
    except (OSError, smtplib.SMTPException) as error:
        logger.warning("invitation %s not sent: %s", invitation_id, error)
        Invitation.objects.filter(pk=invitation_id).update(sent_at=None)


def unsent() -> list[UUID]:
    """Those whose bell was not heard, or whose mail was not taken."""
    old = timezone.now() - TRY_AGAIN_AFTER
    rows = Invitation.objects.filter(sent_at=None, accepted_at=None, revoked_at=None, created_at__lt=old)
    return list(rows.filter(expires_at__gt=timezone.now()).values_list("pk", flat=True)[:MOST_AT_ONCE])


def _send(invitation: Invitation) -> None:
    url = f"{settings.PUBLIC_URL}/invitations/{text_of(invitation)}/"
    words = render_to_string("mail/invitation.txt", {"invitation": invitation, "url": url})
    subject = f"{invitation.invited_by.get_username()} invites you to {invitation.tenant.name}"
    send_mail(subject, words, settings.DEFAULT_FROM_EMAIL, [invitation.email])
