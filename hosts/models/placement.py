"""Where machines were placed, and why."""

from __future__ import annotations

from uuid import UUID

from django.db import models

from hosts.models.host import Host
from portal.core.models import Row

KEPT_PER_HOLDER = 5
KEPT_REFUSALS = 200


class Placement(Row):
    """A decision, with the reason for every host that was not chosen.

    `holder_id` is the machine (or disk) that was placed, `title` whose it was; `wanted` what it asked for. `reason`
    says why this host came first, or what was told where none did (then `host_name` is ""). `refused` is by constraint
    and words, for there may be a thousand: {"capacity": {"2 vCPUs short": ["host", "other"]}}. The newest few are kept
    for each holder, and the newest refusals of all.
    """

    holder_id = models.UUIDField()
    title = models.CharField(max_length=200, blank=True)
    host = models.ForeignKey(Host, null=True, on_delete=models.SET_NULL, related_name="+")
    host_name = models.CharField(max_length=63, blank=True)
    reason = models.CharField(max_length=500)
    wanted = models.JSONField(default=dict)
    refused = models.JSONField(default=dict)
    considered = models.PositiveIntegerField()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["holder_id", "-id"], name="placement_by_holder"),
            models.Index(fields=["-id"], condition=models.Q(host_name=""), name="refused_placements"),
        ]

    @property
    def reasons(self) -> dict[str, dict[str, str]]:
        """By constraint, of each host: {"capacity": {"host": "2 vCPUs short"}}."""
        return {
            constraint: {name: words for words, names in hosts.items() for name in names}
            for constraint, hosts in self.refused.items()
        }


def forget_refusals() -> None:
    """All but the newest KEPT_REFUSALS."""
    old = list(Placement.objects.filter(host_name="").values_list("pk", flat=True)[KEPT_REFUSALS:])
    if old:
        Placement.objects.filter(pk__in=old).delete()


def forget_placements(holder_id: UUID, keep: int = 0) -> None:
    """All but the newest `keep` of a holder."""
    old = list(Placement.objects.filter(holder_id=holder_id).values_list("pk", flat=True)[keep:])
    if old:
        Placement.objects.filter(pk__in=old).delete()
