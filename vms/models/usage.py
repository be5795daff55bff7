"""What machines used, and what of it was promised."""

from __future__ import annotations

from django.db import models

from hosts.models.usage import Usage
from vms.models.vm import VM


class VmUsage(Usage):
    """`risk_ms` is how long its promise was at risk, `broken_ms` how long it was broken (vms.promise_kept)."""

    vm = models.ForeignKey(VM, on_delete=models.CASCADE, related_name="+")
    risk_ms = models.PositiveBigIntegerField()
    broken_ms = models.PositiveBigIntegerField()

    SUMS = (*Usage.SUMS, "risk_ms", "broken_ms")
    OWNER = "vm"

    class Meta:
        constraints = [models.UniqueConstraint(fields=["vm", "step", "at"], name="one_usage_per_vm_and_interval")]
        indexes = [models.Index(fields=["step", "at"], name="vm_usage_by_age")]
