"""Invitations: a role in a tenant, offered to an address by mail, and taken once by whoever follows its link.

The link carries the invitation's id, signed: nothing secret is kept, and a worker can write the mail. Whether it may
still be taken is for the row to say.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from django.core import signing
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from portal.core.errors import Conflict, Invalid, NotFound, TooMany
from portal.events import log
from portal.tenancy.gate import Actor, actor_for
from portal.tenancy.models import Invitation, Membership, Tenant
from portal.tenancy.roles import Permission, Role
from portal.tenancy.services import lock_members

LIFETIME = timedelta(days=7)
MOST_A_DAY = 50  # of one tenant
_SALT = "berth.invitation"
logger = logging.getLogger(__name__)


def invitations(actor: Actor, tenant: Tenant) -> QuerySet[Invitation]:
    """Newest first, those that have ended as well."""
    actor.require(Permission.MEMBER_WRITE, tenant.pk)
    return Invitation.objects.filter(tenant=tenant).select_related("invited_by")


@transaction.atomic
def invite(*, actor: Actor, tenant: Tenant, email: str, role: str) -> Invitation:
    """Offer a role; an open invitation to the same address is revoked. Raises Invalid, or TooMany."""
    actor.require(Permission.MEMBER_WRITE, tenant.pk)
    _check(email, role)
    assert actor.user is not None
    lock_members(tenant)
    _refuse_too_many(tenant)
    _open(tenant).filter(email__iexact=email).update(revoked_at=timezone.now())
    invitation = Invitation.objects.create(
        tenant=tenant, email=email, role=role, invited_by=actor.user, expires_at=timezone.now() + LIFETIME
    )
    log.record("member.invited", actor=actor, target=tenant, after={"email": email, "role": role})
    transaction.on_commit(lambda: _ring(invitation.pk))
    return invitation


@transaction.atomic
def revoke(*, actor: Actor, tenant: Tenant, invitation_id: UUID) -> None:
    """Its link is worth nothing from now on. Conflict where it was taken or revoked before."""
    found = invitations(actor, tenant).filter(pk=invitation_id).first()
    if found is None:
        raise NotFound("There is no such invitation.")
    rows = Invitation.objects.filter(pk=found.pk, accepted_at=None, revoked_at=None)
    if not rows.update(revoked_at=timezone.now()):
        raise Conflict(f"It is {found.status} already.", code="invitation_over")
    log.record("member.uninvited", actor=actor, target=tenant, before={"email": found.email, "role": found.role})


def text_of(invitation: Invitation) -> str:
    """What its link ends with."""
    return signing.dumps(str(invitation.pk), salt=_SALT)


def find(text: str) -> Invitation:
    """The open invitation with that text. NotFound where there is none, or it is over."""
    try:
        id = UUID(signing.loads(text, salt=_SALT, max_age=LIFETIME))
    except (signing.BadSignature, ValueError) as error:
        raise _over() from error
    rows = Invitation.objects.select_related("tenant", "invited_by").filter(pk=id)
    found = rows.filter(accepted_at=None, revoked_at=None, expires_at__gt=timezone.now()).first()
    if found is None or not _still_stands(found):
        raise _over()
    return found


@transaction.atomic
def accept(*, actor: Actor, text: str) -> Membership:
    """Take it, once. Conflict where the actor belongs there already; NotFound as `find`."""
    actor.require(Permission.ACCOUNT_WRITE)
    assert actor.user is not None
    invitation = find(text)
    lock_members(invitation.tenant)
    if Membership.objects.filter(tenant=invitation.tenant, user=actor.user).exists():
        raise Conflict(f"You belong to {invitation.tenant.name} already.", code="already_member")
    rows = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None)
    if not rows.update(accepted_at=timezone.now()):
        raise _over()
    membership = Membership.objects.create(tenant=invitation.tenant, user=actor.user, role=invitation.role)
    after = {"role": invitation.role, "email": invitation.email}
    log.record("member.joined", actor=actor, target=invitation.tenant, user=actor.label, after=after)
    return membership


def _still_stands(invitation: Invitation) -> bool:
    """Whoever may not invite any more cannot let anybody in by what was sent before, themselves least of all."""
    tenant, inviter = invitation.tenant, invitation.invited_by
    if tenant.status != "active" or not inviter.is_active:
        return False
    return actor_for(inviter).can(Permission.MEMBER_WRITE, tenant.pk)


def _open(tenant: Tenant) -> QuerySet[Invitation]:
    return Invitation.objects.filter(tenant=tenant, accepted_at=None, revoked_at=None)


def _refuse_too_many(tenant: Tenant) -> None:
    day = timezone.now() - timedelta(days=1)
    if Invitation.objects.filter(tenant=tenant, created_at__gt=day).count() >= MOST_A_DAY:
        raise TooMany(f"{MOST_A_DAY} invitations in a day are the most; go on tomorrow.", code="too_many_invitations")


def _check(email: str, role: str) -> None:
    try:
        validate_email(email)
    except ValidationError as error:
        raise Invalid("This is no e-mail address.", field="email") from error
    if role not in list(Role):
        raise Invalid(f"Use one of: {', '.join(Role)}.", field="role")


def _over() -> NotFound:
    return NotFound("This invitation is over: it was taken, was revoked, or has expired. Ask for a new one.")


def _ring(invitation_id: UUID) -> None:
    """Wake a worker; where the broker is away, beat sends what is unsent."""
    from portal.tenancy.tasks import send_invitation

    try:
        send_invitation.apply_async((str(invitation_id),), retry=False)
    except Exception as error:  # kombu raises whatever its transport does
        logger.warning("bell not rung for invitation %s: %s", invitation_id, error)
