"""What tenants may use, and the ledger of what they and the hosts hold."""

from __future__ import annotations

from django.db import models

from portal.core.models import Row
from portal.tenancy.models import Tenant

RESOURCES = ("vms", "vcpus", "memory_mib", "disk_gib", "snapshots", "image_mib", "backup_mib")


class Quota(models.Model):
    """A tenant's limits; None is unlimited."""

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
