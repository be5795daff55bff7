"""Tenants and who belongs to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

from portal.accounts.models import User
from portal.core.models import Row
from portal.tenancy.roles import Role
from portal.tenancy.scoping import TenantQuerySet

if TYPE_CHECKING:
    from portal.tenancy.gate import Actor


class TenantSelfQuerySet(TenantQuerySet["Tenant"]):
    def visible_to(self, actor: Actor) -> Q:
        return Q(pk__in=list(actor.memberships))


class Tenant(Row):
    """Whoever owns machines and is billed for them."""

    name = models.CharField(max_length=100)
    slug = models.CharField(max_length=63, unique=True)
    external_id = models.CharField(max_length=100, null=True, unique=True)  # what a billing system calls it
    closed_at = models.DateTimeField(null=True, editable=False)

    objects = TenantSelfQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name

    @property
    def tenant_id(self) -> object:
        """A tenant belongs to itself; the gate asks every object this."""
        return self.pk


class Membership(Row):
    """A user's role in a tenant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=[(role.value, role.value.capitalize()) for role in Role])

    class Meta:
        ordering = ["created_at"]
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="one_membership_per_tenant_and_user")]


class TenantOwned(Row):
    """A row that belongs to a tenant and is never listed without saying for whom."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")

    class Meta:
        abstract = True
