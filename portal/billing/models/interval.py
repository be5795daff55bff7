"""What was used, and for how long."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from django.db import models
from django.db.models import F, Q

from portal.events.models import Event
from portal.tenancy.models import TenantOwned
from portal.tenancy.roles import Permission
from portal.tenancy.scoping import TenantQuerySet


class Immutable(TypeError):
    """Something tried to change what was used, or charged for. Corrections are new rows."""


class IntervalQuerySet(TenantQuerySet["Interval"]):
    def update(self, **kwargs: Any) -> int:
        """All that may ever be filled in: the end, and the events that caused both ends."""
        if not {name.removesuffix("_id") for name in kwargs} <= {"until", "opened_by", "closed_by", "has_causes"}:
            raise Immutable("intervals are never changed")
        return super().update(**kwargs)

    def delete(self) -> NoReturn:
        raise Immutable("intervals are never removed")


class Interval(TenantOwned):
    """A resource held `amount` of a meter from `since` on, and until just before `until`; None: it still does.

    Times are the database's. `grade` is the service class or storage class where the meter has such, `machine_id` that
    of the machine to which the resource belonged; `resource_name` as it was then. What changes ends one interval and
    begins another at the same moment. `opened_by` and `closed_by` tell why: `has_causes` is False until they are known.
    """

    resource_type = models.CharField(max_length=20)
    resource_id = models.UUIDField()
    resource_name = models.CharField(max_length=100)
    machine_id = models.UUIDField(null=True)
    meter = models.CharField(max_length=20)
    grade = models.CharField(max_length=63, blank=True)
    amount = models.PositiveBigIntegerField()
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)
    opened_by = models.ForeignKey(Event, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    closed_by = models.ForeignKey(Event, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    has_causes = models.BooleanField(default=False)

    objects = IntervalQuerySet.as_manager()
    read_permission: ClassVar[Permission] = Permission.BILLING_READ

    class Meta:
        ordering = ["since", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(until=None) | Q(until__gte=F("since")), name="an_interval_goes_forward"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="an_interval_is_of_something"),
            models.UniqueConstraint(
                fields=["resource_id", "meter", "grade"], condition=Q(until=None), name="one_open_interval_per_meter"
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "until"], name="interval_by_tenant"),
            models.Index(fields=["resource_id", "until"], name="interval_by_resource"),
            models.Index(fields=["machine_id"], condition=Q(until=None), name="interval_open_by_machine"),
            models.Index(fields=["resource_id"], condition=Q(has_causes=False), name="interval_without_cause"),
            models.Index(fields=["machine_id"], condition=Q(has_causes=False), name="interval_machine_without_cause"),
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise Immutable("intervals are never changed")
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise Immutable("intervals are never removed")
