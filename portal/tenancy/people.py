"""Accounts of people, as the provider's administrators keep them."""

from __future__ import annotations

import secrets
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from portal.accounts.models import ProviderRole, User
from portal.core.errors import Conflict, Invalid, NotFound
from portal.events import log
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission


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
    try:
        with transaction.atomic():
            user = User.objects.create_user(username, email, password, provider_role=provider_role)
    except IntegrityError as error:
        raise Conflict("Somebody has this user name already.", code="duplicate", field="username") from error
    log.record("user.created", actor=actor, target=user, after={"provider_role": provider_role})
    return user, password


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
    kind = "user.enabled" if active else "user.disabled"
    log.record(kind, actor=actor, target=user, before={"active": before}, after={"active": active})
    return user


def _fetch(actor: Actor, user_id: UUID) -> User:
    """Locked, so that two administrators cannot take each other's rights away at once."""
    actor.require(Permission.USER_WRITE)
    list(User.objects.select_for_update().filter(provider_role=ProviderRole.ADMIN).order_by("pk").values_list("pk"))
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such user.")
    return user


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
