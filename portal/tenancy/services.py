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
        raise Invalid("Choose owner, member or viewer.", field="role")
    user = User.objects.filter(username=username).first()
    if user is None:
        raise Invalid("Nobody here has this user name.", code="unknown_user", field="username")
    _lock(tenant)
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
    _lock(tenant)
    membership = Membership.objects.filter(tenant=tenant, pk=parse_id(membership_id)).select_related("user").first()
    if membership is None:
        raise NotFound("There is no such member.")
    _refuse_last_owner(tenant, membership)
    membership.delete()
    username, held = membership.user.get_username(), {"role": membership.role}
    log.record("member.removed", actor=actor, target=tenant, user=username, before=held)


def _lock(tenant: Tenant) -> None:
    """Changes of one tenant's members wait for each other, so two owners cannot demote each other at once."""
    Tenant.objects.unscoped("row lock").filter(pk=tenant.pk).update(name=F("name"))


def _refuse_last_owner(tenant: Tenant, membership: Membership) -> None:
    others = Membership.objects.filter(tenant=tenant, role=Role.OWNER).exclude(pk=membership.pk)
    if membership.role == Role.OWNER and not others.exists():
        raise Conflict("A tenant keeps at least one owner; make somebody else owner first.", code="last_owner")
