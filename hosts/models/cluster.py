"""Hosts that belong together, and who may use them."""

from __future__ import annotations

from django.db import models

from portal.core.models import Row
from portal.tenancy.models import Tenant

DEFAULT_CLUSTER = "default"


class Spread(models.TextChoices):
    """Which host is taken first where several would do."""

    SPREAD = "spread", "Spread: the emptiest host first"
    PACK = "pack", "Pack: the fullest host that fits"


class Failover(models.TextChoices):
    """What is done when a host of the cluster seems to have failed (hosts.failure)."""

    OFF = "off", "Off: an administrator is told"
    MANUAL = "manual", "Manual: an administrator confirms"
    AUTOMATIC = "automatic", "Automatic: its machines start elsewhere, unless its fence agent says that it is on"
    EAGER = "eager", "Eager: one that nothing reaches is fenced off, also while its fence agent says that it is on"


class Convergence(models.TextChoices):
    """How a guest is moved that writes to its memory faster than that can be sent."""

    AUTO_CONVERGE = "auto-converge", "Slow it down until it can be moved"
    POST_COPY = "post-copy", "Let it go on at the other host first: no way back from then on"


class Cluster(Row):
    """Hosts between which a machine can move: one network, and a processor that all of them can show a guest.

    An address is given once per cluster, so a machine keeps its own wherever it runs; `network_cidr` is that of the
    first host, and asked of all others. `cpu_model` is the baseline; "" is what the accelerator has by itself.
    `class_ratios` are by service class how many of its vCPUs a CPU may carry; a class that is left out goes by its own
    floor. `failure_reserve` is how many hosts' worth of capacity is kept free of new machines, for those of a host that
    fails. `failover_after` is for how many seconds one is silent before it is suspected.
    `migration_mib_s` is the most that one live migration sends in a second, 0 for no limit; `convergence` what is done
    for a guest that writes faster than that (hosts.driver.types.Convergence).
    """

    slug = models.CharField(max_length=63, unique=True)
    name = models.CharField(max_length=100)
    cpu_model = models.CharField(max_length=100, blank=True)
    spread = models.CharField(max_length=10, choices=Spread.choices, default=Spread.SPREAD)
    class_ratios = models.JSONField(default=dict)
    network_cidr = models.CharField(max_length=43, blank=True)
    failure_reserve = models.PositiveSmallIntegerField(default=0)
    failover = models.CharField(max_length=10, choices=Failover.choices, default=Failover.OFF)
    failover_after = models.PositiveSmallIntegerField(default=120)
    migration_mib_s = models.PositiveIntegerField(default=0)
    convergence = models.CharField(max_length=13, choices=Convergence.choices, default=Convergence.AUTO_CONVERGE)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name

    @property
    def fails_over_by_itself(self) -> bool:
        return self.failover in (Failover.AUTOMATIC, Failover.EAGER)


class TenantCluster(models.Model):
    """A cluster that a tenant may use. A tenant without such rows may use all."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="tenants")

    class Meta:
        ordering = ["cluster__slug"]
        constraints = [models.UniqueConstraint(fields=["tenant", "cluster"], name="one_row_per_tenant_and_cluster")]
