"""What a unit of each meter costs, and from when until when."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import F, Q

from portal.core.models import Row
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.tenancy.scoping import TenantQuerySet

if TYPE_CHECKING:
    from portal.tenancy.gate import Actor


class PriceBookQuerySet(TenantQuerySet["PriceBook"]):
    def visible_to(self, actor: Actor) -> Q:
        return super().visible_to(actor) | Q(tenant=None)


class PriceBook(Row):
    """Prices in one currency (ISO 4217) from `since` on, and until just before `until`; None: until further notice.

    `tenant` None is for everybody. A tenant's own book stands before that: what it does not price is as for everybody
    where the currency is the same, and costs nothing where it is not. What has begun is never changed, only ended.
    """

    name = models.CharField(max_length=100)
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, related_name="+")
    currency = models.CharField(max_length=3)
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=150)

    objects = PriceBookQuerySet.as_manager()
    read_permission: ClassVar[Permission] = Permission.BILLING_READ

    class Meta:
        verbose_name = "price book"
        ordering = ["-since", "-id"]
        constraints = [
            models.CheckConstraint(condition=Q(until=None) | Q(until__gt=F("since")), name="a_price_book_lasts"),
            models.UniqueConstraint(
                fields=["tenant"], condition=Q(until=None, tenant__isnull=False), name="one_open_price_book_per_tenant"
            ),
            models.UniqueConstraint(
                fields=["currency"], condition=Q(until=None, tenant=None), name="one_open_general_price_book"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Price(models.Model):
    """Of a unit of a meter, in the grade or ("") in any that has no price of its own.

    It is for what goes beyond `above` units in a calendar month, until the next `above`: tiers. What is included is a
    price of nothing above 0.
    """

    book = models.ForeignKey(PriceBook, on_delete=models.CASCADE, related_name="prices")
    meter = models.CharField(max_length=20)
    grade = models.CharField(max_length=63, blank=True)
    above = models.DecimalField(max_digits=20, decimal_places=10, default=Decimal(0))
    unit_price = models.DecimalField(max_digits=20, decimal_places=10)

    class Meta:
        ordering = ["meter", "grade", "above"]
        constraints = [
            models.UniqueConstraint(fields=["book", "meter", "grade", "above"], name="one_price_per_tier"),
            models.CheckConstraint(condition=Q(unit_price__gte=0, above__gte=0), name="a_price_is_not_negative"),
        ]
