"""Machines that are kept apart, or together."""

from __future__ import annotations

from django.db import models

from portal.tenancy.models import TenantOwned
from portal.tenancy.scoping import TenantQuerySet
from vms.models.vm import VM


class GroupPolicy(models.TextChoices):
    APART = "apart", "Apart: each on a host of its own"
    TOGETHER = "together", "Together: all on one host"


class AffinityGroup(TenantOwned):
    """A tenant's wish on where machines run, honoured whenever one is placed or moved.

    `generation` is bumped by whoever places a machine of the group, so that two of them do not miss each other.
    """

    name = models.CharField(max_length=63)
    policy = models.CharField(max_length=10, choices=GroupPolicy.choices)
    members = models.ManyToManyField(VM, related_name="groups")
    generation = models.PositiveBigIntegerField(default=0)

    objects = TenantQuerySet.as_manager()

    class Meta:
        verbose_name = "group"
        ordering = ["-created_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="one_group_per_tenant_and_name")]

    def __str__(self) -> str:
        return self.name
