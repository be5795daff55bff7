"""What the worker does for tenants."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from portal.tenancy import mail


@shared_task  # type: ignore[untyped-decorator]
def send_invitation(invitation_id: str) -> None:
    mail.send_invitation(UUID(invitation_id))


@shared_task  # type: ignore[untyped-decorator]
def send_unsent_invitations() -> None:
    for invitation_id in mail.unsent():
        mail.send_invitation(invitation_id)
