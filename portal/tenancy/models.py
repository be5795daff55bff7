"""Tenants and who belongs to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from portal.accounts.models import User
from portal.core.models import Row
from portal.tenancy.roles import Permission, Role
from portal.tenancy.scoping import TenantQuerySet

if TYPE_CHECKING:
    from portal.tenancy.gate import Actor


class TenantSelfQuerySet(TenantQuerySet["Tenant"]):
    def visible_to(self, actor: Actor) -> Q:
        """Also where a role is worth nothing at present, so that the reason can be told."""
        return Q(pk__in=list(actor.memberships))


class Tenant(Row):
    """Whoever owns machines and is billed for them.

    While it is suspended its members read and change nothing, and are told `suspended_for`; with `stops_machines` its
    machines are kept off. One that is closed is seen
    by the provider's staff alone; what it had is kept until `purge_at`, and is gone since `purged_at`.
    """

    name = models.CharField(max_length=100)
    slug = models.CharField(max_length=63, unique=True)
    needs_second_factor = models.BooleanField(default=False)
    suspended_at = models.DateTimeField(null=True, editable=False)
    suspended_for = models.CharField(max_length=300, blank=True)
    stops_machines = models.BooleanField(default=False)
    external_id = models.CharField(max_length=100, null=True, unique=True)  # what a billing system calls it
    closed_at = models.DateTimeField(null=True, editable=False)
    purge_at = models.DateTimeField(null=True, editable=False)
    purged_at = models.DateTimeField(null=True, editable=False)

    objects = TenantSelfQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name

    @property
    def tenant_id(self) -> object:
        """A tenant belongs to itself; the gate asks every object this."""
        return self.pk

    @property
    def status(self) -> str:
        """active, suspended, closed, purged"""
        if self.closed_at is not None:
            return "closed" if self.purged_at is None else "purged"
        return "active" if self.suspended_at is None else "suspended"


class Membership(Row):
    """A user's role in a tenant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=[(role.value, role.label) for role in Role])

    class Meta:
        ordering = ["created_at"]
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="one_membership_per_tenant_and_user")]


class TenantOwned(Row):
    """A row that belongs to a tenant and is never listed without saying for whom."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    read_permission: ClassVar[Permission] = Permission.VM_READ

    class Meta:
        abstract = True


class Invitation(Row):
    """An offer of a role, sent to an address. Whoever follows its link takes it, once, until it expires or is revoked.

    The link is signed and kept nowhere (portal.tenancy.invitations); `sent_at` is when its mail went out.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=10, choices=[(role.value, role.label) for role in Role])
    invited_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    expires_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    accepted_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "invitation"
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["tenant", "-created_at", "-id"], name="invitation_by_tenant")]

    @property
    def status(self) -> str:
        """accepted, revoked, expired, open"""
        if self.accepted_at is not None:
            return "accepted"
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at <= timezone.now() else "open"


class SignInPolicy(models.Model):
    """What the provider demands of whoever signs in: one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    staff_need_second_factor = models.BooleanField(default=False)
