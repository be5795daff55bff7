"""Leases: what a tenant's machines must have of them, and who is still to be told how one went on."""

from __future__ import annotations

from django.db import models

from portal.accounts.models import User
from portal.core.models import Row
from portal.tenancy.models import Tenant
from vms.lease import Demand, Stage, Terms
from vms.models.vm import VM


class LeasePolicy(models.Model):
    """What administrators ask of a tenant's machines. A tenant without a row has what Terms begin with."""

    tenant = models.OneToOneField(Tenant, primary_key=True, on_delete=models.CASCADE, related_name="lease_policy")
    demand = models.CharField(max_length=10, choices=[(each.value, each.value) for each in Demand])
    longest_days = models.PositiveSmallIntegerField(null=True)
    warn_days = models.PositiveSmallIntegerField()
    off_days = models.PositiveSmallIntegerField()

    @property
    def terms(self) -> Terms:
        return Terms(Demand(self.demand), self.longest_days, self.warn_days, self.off_days)


class LeaseNotice(Row):
    """One person is to be told of one stage of one machine's lease, in `words` as they were true then.

    `claimed_at` is when a worker last tried, `told_at` when the mail went out; `refusal` is why no mail to them ever
    will. A lease does not go on while anybody is still to be told.
    """

    vm = models.ForeignKey(VM, on_delete=models.CASCADE, related_name="lease_notices")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    stage = models.CharField(max_length=10, choices=[(each.value, each.value) for each in Stage])
    words = models.TextField()
    claimed_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)
    refusal = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["vm", "user", "stage"], name="one_lease_notice_per_person_and_stage")
        ]
        indexes = [
            models.Index(fields=["user"], condition=models.Q(told_at=None, refusal=""), name="lease_notice_untold")
        ]
