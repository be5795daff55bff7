"""Accounts of people, as the provider's administrators keep them."""

from __future__ import annotations

import secrets
from uuid import UUID

from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from portal.accounts.models import ProviderRole, User
from portal.core.errors import Conflict, Invalid, NotFound
from portal.events import log
from portal.tenancy import invitations
from portal.tenancy.gate import Actor, actor_for
from portal.tenancy.models import SignInPolicy
from portal.tenancy.roles import Permission
from portal.tenancy.services import refuse_without_factor


def users(actor: Actor, search: str = "") -> QuerySet[User]:
    """Everybody with an account, by user name."""
    actor.require(Permission.USER_READ)
    rows = User.objects.order_by("username")
    return rows.filter(username__icontains=search) if search else rows


@transaction.atomic
def create_user(*, actor: Actor, username: str, email: str = "", provider_role: str = "") -> tuple[User, str]:
    """A new account and its generated password, which cannot be had again."""
    actor.require(Permission.USER_WRITE)
    _check(username, email, provider_role)
    password = secrets.token_urlsafe(12)
    user = User(username=username, email=User.objects.normalize_email(email), provider_role=provider_role)
    user.set_password(password)
    _save_new(user)
    log.record("user.created", actor=actor, target=user, after={"provider_role": provider_role})
    return user, password


@transaction.atomic
def create_invited_user(*, text: str, username: str, password: str) -> User:
    """An account for whoever follows an invitation's link, which proves the address, and the membership with it."""
    invitation = invitations.find(text)
    _check(username, "", "")
    user = User(username=username, email=invitation.email)
    _check_password(password, user)
    user.set_password(password)
    _save_new(user)
    EmailAddress.objects.create(user=user, email=invitation.email, verified=True, primary=True)
    actor = actor_for(user)
    log.record("user.created", actor=actor, target=user, after={"invited_by": invitation.invited_by.get_username()})
    invitations.accept(actor=actor, text=text)
    return user


@transaction.atomic
def set_provider_role(*, actor: Actor, user_id: UUID, provider_role: str) -> User:
    """What somebody may do across tenants. There is always an administrator left."""
    user = _fetch(actor, user_id)
    if provider_role not in ProviderRole.values:
        raise Invalid("There is no such role.", field="provider_role")
    before, user.provider_role = user.provider_role, provider_role
    user.save(update_fields=["provider_role"])
    _refuse_without_admin()
    held, given = {"provider_role": before}, {"provider_role": provider_role}
    log.record("user.role-changed", actor=actor, target=user, before=held, after=given)
    return user


@transaction.atomic
def set_active(*, actor: Actor, user_id: UUID, active: bool) -> User:
    """Let somebody in, or out: sessions and tokens of a disabled account end with their next request."""
    user = _fetch(actor, user_id)
    before, user.is_active = user.is_active, active
    user.save(update_fields=["is_active"])
    _refuse_without_admin()
    if not active:
        end_sessions(user)
    kind = "user.enabled" if active else "user.disabled"
    log.record(kind, actor=actor, target=user, before={"active": before}, after={"active": active})
    return user


def end_sessions(user: User) -> None:
    """They are signed out everywhere, for good."""
    for session in UserSession.objects.filter(user=user):
        session.end()


@transaction.atomic
def demand_of_staff(*, actor: Actor, demanded: bool) -> None:
    """Whether provider roles are worth anything without a second factor. Whoever demands it must have one."""
    actor.require(Permission.USER_WRITE)
    if demanded:
        refuse_without_factor(actor)
    SignInPolicy.objects.update_or_create(defaults={"staff_need_second_factor": demanded})
    assert actor.user is not None
    log.record("user.staff-sign-in-changed", actor=actor, target=actor.user, after={"second_factor": demanded})


def staff_need_second_factor(actor: Actor) -> bool:
    actor.require(Permission.USER_READ)
    return SignInPolicy.objects.filter(staff_need_second_factor=True).exists()


def _fetch(actor: Actor, user_id: UUID) -> User:
    """Locked, so that two administrators cannot take each other's rights away at once."""
    actor.require(Permission.USER_WRITE)
    list(User.objects.select_for_update().filter(provider_role=ProviderRole.ADMIN).order_by("pk").values_list("pk"))
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such user.")
    return user


def _save_new(user: User) -> None:
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict("Somebody has this user name already.", code="duplicate", field="username") from error


def _check_password(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages), code="weak_password", field="password") from error


def _refuse_without_admin() -> None:
    if not User.objects.filter(provider_role=ProviderRole.ADMIN, is_active=True).exists():
        raise Conflict("One administrator must stay; make somebody else administrator first.", code="last_admin")


def _check(username: str, email: str, provider_role: str) -> None:
    try:
        User.username_validator(username)
    except ValidationError as error:
        raise Invalid("Use letters, digits and @ . + - _ only.", code="invalid_name", field="username") from error
    if not 1 <= len(username) <= 150:
        raise Invalid("Use 1 to 150 characters.", code="invalid_name", field="username")
    try:
        if email:
            validate_email(email)
    except ValidationError as error:
        raise Invalid("This is no e-mail address.", field="email") from error
    if provider_role not in ProviderRole.values:
        raise Invalid("There is no such role.", field="provider_role")
