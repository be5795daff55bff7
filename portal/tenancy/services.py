"""Tenants and their members."""

from __future__ import annotations

from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F

from portal.accounts.models import User
from portal.core import text
from portal.core.errors import Conflict, Invalid, NotFound
from portal.events import log
from portal.quotas import ledger
from portal.quotas.models import Quota
from portal.tenancy.bars import SECOND_FACTOR, has_second_factor
from portal.tenancy.gate import Actor, parse_id
from portal.tenancy.models import Membership, Tenant
from portal.tenancy.roles import Permission, Role


@transaction.atomic
def create_tenant(*, actor: Actor, name: str, slug: str) -> Tenant:
    """A tenant with the default quota and its account in the ledger."""
    actor.require(Permission.TENANT_WRITE)
    tenant = Tenant(name=text.label(name), slug=text.slug(slug))
    try:
        with transaction.atomic():
            tenant.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict("There is a tenant with this slug already.", code="duplicate", field="slug") from error
    Quota.objects.create(tenant=tenant)
    ledger.open_account(tenant.pk)
    log.record("tenant.created", actor=actor, target=tenant, after={"name": tenant.name, "slug": tenant.slug})
    return tenant


@transaction.atomic
def rename_tenant(*, actor: Actor, tenant: Tenant, name: str) -> Tenant:
    actor.require(Permission.TENANT_WRITE, tenant.pk)
    before, tenant.name = tenant.name, text.label(name)
    tenant.save(update_fields=["name"])
    log.record("tenant.renamed", actor=actor, target=tenant, before={"name": before}, after={"name": tenant.name})
    return tenant


@transaction.atomic
def set_member(*, actor: Actor, tenant: Tenant, username: str, role: str) -> Membership:
    """Add somebody who has an account here, or change their role. The last owner stays one."""
    actor.require(Permission.MEMBER_WRITE, tenant.pk)
    if role not in list(Role):
        raise Invalid(f"Use one of: {', '.join(Role)}.", field="role")
    user = User.objects.filter(username=username).first()
    if user is None:
        raise Invalid("Nobody here has this user name.", code="unknown_user", field="username")
    lock_members(tenant)
    before = Membership.objects.filter(tenant=tenant, user=user).first()
    if before and before.role == Role.OWNER and role != Role.OWNER:
        _refuse_last_owner(tenant, before)
    membership, _ = Membership.objects.update_or_create(tenant=tenant, user=user, defaults={"role": role})
    held = {"role": before.role} if before else None
    log.record("member.set", actor=actor, target=tenant, user=username, before=held, after={"role": role})
    return membership


@transaction.atomic
def remove_member(*, actor: Actor, tenant: Tenant, membership_id: UUID | str) -> None:
    """Their rights end with the next request. The last owner cannot be removed."""
    actor.require(Permission.MEMBER_WRITE, tenant.pk)
    lock_members(tenant)
    membership = Membership.objects.filter(tenant=tenant, pk=parse_id(membership_id)).select_related("user").first()
    if membership is None:
        raise NotFound("There is no such member.")
    _refuse_last_owner(tenant, membership)
    membership.delete()
    username, held = membership.user.get_username(), {"role": membership.role}
    log.record("member.removed", actor=actor, target=tenant, user=username, before=held)


@transaction.atomic
def leave(*, actor: Actor, tenant: Tenant) -> None:
    """End one's own membership. The last owner stays."""
    actor.require(Permission.ACCOUNT_WRITE)
    lock_members(tenant)
    membership = Membership.objects.filter(tenant=tenant, user=actor.user).first()
    if membership is None:
        raise Conflict("You do not belong to it.", code="no_member")
    _refuse_last_owner(tenant, membership)
    membership.delete()
    log.record("member.left", actor=actor, target=tenant, user=actor.label, before={"role": membership.role})


@transaction.atomic
def transfer_ownership(*, actor: Actor, tenant: Tenant, username: str) -> Membership:
    """Make another member owner and become a member oneself, both or neither."""
    actor.require(Permission.MEMBER_WRITE, tenant.pk)
    lock_members(tenant)
    own = Membership.objects.filter(tenant=tenant, user=actor.user, role=Role.OWNER).first()
    if own is None:
        raise Conflict("Only an owner can hand it over; as administrator, set the roles.", code="no_owner")
    heir = Membership.objects.filter(tenant=tenant, user__username=username).exclude(pk=own.pk).first()
    if heir is None:
        raise Invalid("Name another member.", code="unknown_user", field="username")
    before, heir.role, own.role = heir.role, Role.OWNER, Role.MEMBER
    heir.save(update_fields=["role"])
    own.save(update_fields=["role"])
    held, given = {"owner": actor.label, "role": before}, {"owner": username, "role": Role.OWNER}
    log.record("tenant.handed-over", actor=actor, target=tenant, before=held, after=given)
    return heir


@transaction.atomic
def demand_second_factor(*, actor: Actor, tenant: Tenant, demanded: bool) -> Tenant:
    """Whether membership is worth anything without one. Whoever demands it must have one. For owners and staff."""
    actor.require(Permission.TENANT_WRITE, tenant.pk)
    if demanded:
        refuse_without_factor(actor)
    before, tenant.needs_second_factor = tenant.needs_second_factor, demanded
    tenant.save(update_fields=["needs_second_factor"])
    held, asked = {"second_factor": before}, {"second_factor": demanded}
    log.record("tenant.sign-in-changed", actor=actor, target=tenant, before=held, after=asked)
    return tenant


def refuse_without_factor(actor: Actor) -> None:
    """Nobody shuts themselves out."""
    if actor.user is not None and not User.objects.filter(has_second_factor(actor.user), pk=actor.user.pk).exists():
        raise Conflict("Set up a second factor of your own first, under Sign-in & security.", code=SECOND_FACTOR)


def lock_members(tenant: Tenant) -> None:
    """Changes of one tenant's members wait for each other, so two owners cannot demote each other at once."""
    Tenant.objects.unscoped("row lock").filter(pk=tenant.pk).update(name=F("name"))


def _refuse_last_owner(tenant: Tenant, membership: Membership) -> None:
    others = Membership.objects.filter(tenant=tenant, role=Role.OWNER).exclude(pk=membership.pk)
    if membership.role == Role.OWNER and not others.exists():
        raise Conflict("A tenant keeps at least one owner; make somebody else owner first.", code="last_owner")
