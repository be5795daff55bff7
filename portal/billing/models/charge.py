"""What a tenant was charged in months that are closed, and what was added by hand."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from django.db import models
from django.db.models import F, Q

from portal.billing.models.interval import Immutable
from portal.tenancy.models import TenantOwned
from portal.tenancy.roles import Permission
from portal.tenancy.scoping import TenantQuerySet


class Category(models.TextChoices):
    """As FOCUS calls them."""

    USAGE = "Usage"
    CREDIT = "Credit"
    ADJUSTMENT = "Adjustment"


class FrozenQuerySet(TenantQuerySet[Any]):
    def update(self, **kwargs: Any) -> NoReturn:
        raise Immutable("what was charged is never changed")

    def delete(self) -> NoReturn:
        raise Immutable("what was charged is never removed")


class Frozen(TenantOwned):
    """A row that stays as it was written."""

    objects = FrozenQuerySet.as_manager()
    read_permission: ClassVar[Permission] = Permission.BILLING_READ

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise Immutable("what was charged is never changed")
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise Immutable("what was charged is never removed")


class Period(Frozen):
    """A calendar month (UTC) of a tenant that is closed. `totals` by currency are rounded to its smallest unit."""

    since = models.DateTimeField()
    until = models.DateTimeField()
    totals = models.JSONField(default=dict)
    closed_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["-since", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "since"], name="a_period_is_closed_once"),
            models.CheckConstraint(condition=Q(until__gt=F("since")), name="a_period_lasts"),
        ]


class Adjustment(Frozen):
    """Added by hand to the month that begins at `since`: a credit is below nothing, an adjustment either way."""

    since = models.DateTimeField()
    category = models.CharField(
        max_length=10, choices=[(each.value, each.label) for each in (Category.CREDIT, Category.ADJUSTMENT)]
    )
    description = models.CharField(max_length=200)
    currency = models.CharField(max_length=3)
    amount = models.DecimalField(max_digits=20, decimal_places=2)
    created_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["tenant", "since"], name="adjustment_by_month")]
        constraints = [
            models.CheckConstraint(
                condition=Q(category="Adjustment") | Q(amount__lt=0), name="a_credit_is_below_nothing"
            )
        ]


class Charged(Frozen):
    """A line of a closed month, as portal.billing.charges.Charge has it; `position` is its place in it."""

    period = models.ForeignKey(Period, on_delete=models.PROTECT, related_name="lines")
    position = models.PositiveIntegerField()
    category = models.CharField(max_length=10, choices=Category.choices)
    description = models.CharField(max_length=200)
    resource_type = models.CharField(max_length=20)
    resource_id = models.UUIDField(null=True)
    resource_name = models.CharField(max_length=100)
    machine_id = models.UUIDField(null=True)
    meter = models.CharField(max_length=20, blank=True)
    grade = models.CharField(max_length=63, blank=True)
    since = models.DateTimeField()
    until = models.DateTimeField()
    quantity = models.DecimalField(max_digits=30, decimal_places=10)
    unit_price = models.DecimalField(max_digits=20, decimal_places=10)
    currency = models.CharField(max_length=3)
    cost = models.DecimalField(max_digits=30, decimal_places=10)
    price_id = models.CharField(max_length=100, blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["period", "position"], name="one_line_per_position")]
