"""What a tenant means to spend in a month, and which of its thresholds were passed."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from portal.core.models import Row
from portal.tenancy.models import TenantOwned
from portal.tenancy.roles import Permission
from portal.tenancy.scoping import TenantQuerySet


class Basis(models.TextChoices):
    SPENT = "spent"
    FORECAST = "forecast"


class Action(models.TextChoices):
    NOTIFY = "notify"
    BLOCK = "block"
    STOP = "stop"


class Budget(TenantOwned):
    """`amount` of `currency` (ISO 4217) for each calendar month in UTC.

    `thresholds` are `{"percent": int, "of": Basis, "action": Action}`, in the order of their percents.
    """

    amount = models.DecimalField(max_digits=20, decimal_places=2)
    currency = models.CharField(max_length=3)
    thresholds = models.JSONField(default=list)

    objects = TenantQuerySet.as_manager()
    read_permission = Permission.BILLING_READ

    class Meta:
        verbose_name = "budget"
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="one_budget_per_tenant"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="a_budget_is_of_something"),
        ]

    @property
    def name(self) -> str:
        return "budget"


class BudgetCrossing(Row):
    """A threshold that was passed in the month that begins at `since`: once, whatever the budget is set to later.

    It is the outbox of mails too: `told_at` None waits.
    """

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="crossings")
    since = models.DateTimeField()
    percent = models.PositiveSmallIntegerField()
    of = models.CharField(max_length=10, choices=Basis.choices)
    action = models.CharField(max_length=10, choices=Action.choices)
    told_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["budget", "since", "percent", "of", "action"], name="a_threshold_is_passed_once_a_month"
            )
        ]
