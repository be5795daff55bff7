"""Tickets that open a console once."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from portal.accounts.models import ApiToken, User
from portal.core.errors import Invalid
from portal.events import log
from portal.tenancy.gate import Actor, actor_for
from portal.tenancy.roles import Permission
from vms.models import VM, ConsoleTicket
from vms.services import guard
from vms.states import Action

LIFETIME = timedelta(seconds=30)
KINDS = ("display", "serial")


@transaction.atomic
def issue_ticket(*, actor: Actor, vm: VM, kind: str, session_key: str = "", token: ApiToken | None = None) -> str:
    """The text of a ticket for this user, machine and console; bound to the session or token that asks for it."""
    if kind not in KINDS:
        raise Invalid("Choose display or serial.", field="kind")
    guard.require(actor, vm, Action.CONSOLE)
    assert actor.user is not None
    secret = secrets.token_urlsafe(24)
    ConsoleTicket.objects.filter(expires_at__lt=timezone.now() - timedelta(hours=1)).delete()
    ConsoleTicket.objects.create(
        digest=_digest(secret),
        user=actor.user,
        vm=vm,
        kind=kind,
        session_key=session_key,
        token=token,
        expires_at=timezone.now() + LIFETIME,
    )
    log.record("vm.console-opened", actor=actor, target=vm, console=kind)
    return secret


def redeem(secret: str, *, user: User | None, session_key: str) -> ConsoleTicket | None:
    """The ticket, once: None where it is unknown, used, expired, somebody else's, or its user lost the right since."""
    now = timezone.now()
    rows = ConsoleTicket.objects.filter(digest=_digest(secret), used_at=None, expires_at__gt=now)
    if not rows.update(used_at=now):
        return None
    ticket = ConsoleTicket.objects.select_related("user", "vm__host").get(digest=_digest(secret))
    if ticket.session_key and (ticket.session_key != session_key or user != ticket.user):
        return None
    return ticket if still_allowed(ticket) else None


def still_allowed(ticket: ConsoleTicket) -> bool:
    """Whether the user may have this console now; open consoles ask again and again."""
    user = User.objects.filter(pk=ticket.user_id, is_active=True).first()
    vm = VM.objects.unscoped("the ticket's own").filter(pk=ticket.vm_id).first()
    token = ApiToken.objects.filter(pk=ticket.token_id).first() if ticket.token_id else None
    if user is None or vm is None or (ticket.token_id and (token is None or token.is_over)):
        return False
    return actor_for(user, token=token).can(Permission.VM_CONSOLE, vm.tenant_id)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
