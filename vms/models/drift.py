"""Where hosts and database differ, until somebody or something made them agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

from hosts.models import Host
from portal.core.models import Row
from portal.tenancy.scoping import TenantQuerySet
from vms.models.vm import VM

if TYPE_CHECKING:
    from portal.tenancy.gate import Actor


class DriftState(models.TextChoices):
    """IGNORED is still so, and nobody wants to hear of it."""

    OPEN = "open"
    IGNORED = "ignored"
    RESOLVED = "resolved"


class DriftQuerySet(TenantQuerySet["Drift"]):
    def visible_to(self, actor: Actor) -> Q:
        """The provider's staff alone; `for_actor` asks this of everybody else."""
        return Q(pk__in=[])


class Drift(Row):
    """One difference, seen in two readings in a row. `kind` is a vms.audit.findings.Kind.

    `host` is None for what is wrong in the books only. `evidence` has what "is" and what "should" be.
    """

    host = models.ForeignKey(Host, null=True, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=30)
    object = models.CharField(max_length=200)
    vm = models.ForeignKey(VM, null=True, on_delete=models.SET_NULL, related_name="drift")
    detail = models.CharField(max_length=500)
    evidence = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=DriftState.choices, default=DriftState.OPEN)
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)

    objects = DriftQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["host", "kind", "object"],
                condition=~Q(state=DriftState.RESOLVED),
                name="one_drift_per_object_of_a_host",
            ),
            models.UniqueConstraint(
                fields=["kind", "object"],
                condition=~Q(state=DriftState.RESOLVED) & Q(host=None),
                name="one_drift_per_object_of_the_books",
            ),
        ]
        indexes = [models.Index(fields=["state", "-created_at", "-id"], name="drift_by_state")]

    def __str__(self) -> str:
        return self.object

    @property
    def name(self) -> str:
        return self.object


class Comparison(models.Model):
    """When a host was last compared with the database."""

    host = models.OneToOneField(Host, primary_key=True, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()
