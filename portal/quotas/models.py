"""What tenants may use, and the ledger of what they and the hosts hold."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from portal.core.models import Row
from portal.tenancy.models import Tenant, TenantOwned
from portal.tenancy.roles import Permission
from portal.tenancy.scoping import TenantQuerySet

RESOURCES = ("vms", "vcpus", "memory_mib", "disk_gib", "snapshots", "image_mib", "backup_mib")


class Quota(models.Model):
    """A tenant's limits; None is unlimited. What holds at present also counts grants (portal.quotas.grants)."""

    tenant = models.OneToOneField(Tenant, primary_key=True, on_delete=models.CASCADE, related_name="quota")
    vms = models.PositiveIntegerField(null=True, default=10)
    vcpus = models.PositiveIntegerField(null=True, default=20)
    memory_mib = models.PositiveIntegerField(null=True, default=16 * 1024)
    disk_gib = models.PositiveIntegerField(null=True, default=200)
    snapshots = models.PositiveIntegerField(null=True, default=50)
    image_mib = models.PositiveIntegerField(null=True, default=50 * 1024)
    backup_mib = models.PositiveIntegerField(null=True, default=200 * 1024)

    @property
    def limits(self) -> dict[str, int | None]:
        return {resource: getattr(self, resource) for resource in RESOURCES}


class RequestState(models.TextChoices):
    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class IncreaseRequest(TenantOwned):
    """A tenant asks for higher limits. One that was approved until `ends_at` raises them for so long, by itself;
    one without an end has changed the quota when it was approved.

    `wanted` are limits by resource; `decided_by` is "rule" where nobody had to look.
    """

    wanted = models.JSONField()
    reason = models.CharField(max_length=500)
    ends_at = models.DateTimeField(null=True)
    state = models.CharField(max_length=10, choices=RequestState.choices, default=RequestState.PENDING)
    asked_by = models.CharField(max_length=150)
    decided_by = models.CharField(max_length=150, blank=True)
    decided_at = models.DateTimeField(null=True)
    answer = models.CharField(max_length=500, blank=True)
    end_told_at = models.DateTimeField(null=True)

    objects = TenantQuerySet.as_manager()
    read_permission = Permission.QUOTA_READ

    class Meta:
        verbose_name = "request"
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant"], condition=models.Q(state="pending"), name="one_pending_request_per_tenant"
            )
        ]
        indexes = [models.Index(fields=["tenant", "-created_at", "-id"], name="request_by_tenant")]

    @property
    def name(self) -> str:
        return "quota request"

    @property
    def status(self) -> str:
        """Its state, or ended."""
        is_over = self.ends_at is not None and self.ends_at <= timezone.now()
        return "ended" if self.state == RequestState.APPROVED and is_over else str(self.state)


class ApprovalRule(models.Model):
    """What is approved without anybody looking: one row.

    Each limit grows by at most `percent` of what it is without a grant, for at most `days`, while all that is promised
    stays below what there is, and while no other increase of the tenant's runs.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    is_active = models.BooleanField(default=False)
    percent = models.PositiveSmallIntegerField(default=25)
    days = models.PositiveSmallIntegerField(default=14)


class GrowthBlock(models.Model):
    """Why a tenant may take no more (and with `stops` start nothing) until `until`; written by its budget."""

    tenant = models.OneToOneField(Tenant, primary_key=True, on_delete=models.CASCADE, related_name="+")
    reason = models.CharField(max_length=300)
    stops = models.BooleanField()
    until = models.DateTimeField()


class Account(Row):
    """One side of the ledger: a tenant that spends its quota, or a host that lends its capacity.

    `id` is that of the tenant or host. `generation` is bumped by every writer first, which makes writers of one
    account wait for each other on SQLite and PostgreSQL alike.
    """

    generation = models.PositiveBigIntegerField(default=0)


class Claim(Row):
    """What a holder (a VM) takes of an account. What is used is the sum of these rows; there is no counter."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="claims")
    holder_id = models.UUIDField(db_index=True)
    resource = models.CharField(max_length=20)
    amount = models.PositiveBigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "holder_id", "resource"], name="one_claim_per_holder_and_resource"
            ),
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="a_claim_is_of_something"),
        ]
        indexes = [models.Index(fields=["account", "resource"], name="claim_by_account")]
