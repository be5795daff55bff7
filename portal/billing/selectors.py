"""Reads of usage, prices and charges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet, Sum

from portal.billing import usage
from portal.billing.charges import Charge, Tariff, Tier, charge, total
from portal.billing.models import Adjustment, Charged, Interval, Period, PriceBook
from portal.billing.months import Month
from portal.core import clocks
from portal.core.errors import NotFound
from portal.tenancy import selectors as tenancy
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission

AT_ONCE = 2000


@dataclass(frozen=True)
class Filter:
    """What of the usage or the charges is wanted; "" and None are no condition."""

    tenant: Tenant | None = None
    resource_id: UUID | None = None
    machine_id: UUID | None = None
    meter: str = ""


def tenants(actor: Actor, wanted: Tenant | None) -> QuerySet[Tenant]:
    """Whose money the actor may read of: the one that is wanted, or all."""
    if wanted is not None:
        actor.require(Permission.BILLING_READ, wanted.pk)
        return Tenant.objects.for_actor(actor).filter(pk=wanted.pk)
    rows = tenancy.tenants(actor)
    if actor.can(Permission.BILLING_READ):
        return rows
    return rows.filter(pk__in=actor.tenants_with(Permission.BILLING_READ))


def intervals(actor: Actor, wanted: Filter, since: datetime, until: datetime) -> QuerySet[Interval]:
    """Those that reach into the period, in the order of their beginning."""
    rows = Interval.objects.for_actor(actor).filter(tenant__in=tenants(actor, wanted.tenant)).select_related("tenant")
    conditions = {"resource_id": wanted.resource_id, "machine_id": wanted.machine_id, "meter": wanted.meter}
    rows = rows.filter(**{name: value for name, value in conditions.items() if value})
    return usage.within(rows, since, until)


def books(actor: Actor) -> QuerySet[PriceBook]:
    """Those for everybody and those of one's own tenants, newest first."""
    return PriceBook.objects.for_actor(actor).select_related("tenant").prefetch_related("prices")


def book(actor: Actor, id: UUID, permission: Permission = Permission.BILLING_READ) -> PriceBook:
    """NotFound where it is another tenant's; what is for everybody anybody may read."""
    actor.require_scope(permission)
    found = books(actor).filter(pk=id).first()
    if found is None:
        raise NotFound("There is no such price book.")
    if permission != Permission.BILLING_READ or found.tenant_id is not None:
        actor.require(permission, found.tenant_id if permission == Permission.BILLING_READ else None)
    return found


def periods(actor: Actor, tenant: Tenant) -> QuerySet[Period]:
    actor.require(Permission.BILLING_READ, tenant.pk)
    return Period.objects.for_actor(actor).filter(tenant=tenant)


def adjustments(actor: Actor, tenant: Tenant) -> QuerySet[Adjustment]:
    actor.require(Permission.BILLING_READ, tenant.pk)
    return Adjustment.objects.for_actor(actor).filter(tenant=tenant)


def charges(actor: Actor, wanted: Filter, months: Iterable[Month]) -> Iterator[Charge]:
    """Tenant by tenant and month by month, those of closed months as they were then; one is in memory at a time."""
    rows = list(tenants(actor, wanted.tenant))
    for month in months:
        for tenant in rows:
            yield from (each for each in of_month(tenant.pk, month) if _is_wanted(each, wanted))


def _is_wanted(each: Charge, wanted: Filter) -> bool:
    return (
        wanted.resource_id in (None, each.resource_id)
        and wanted.machine_id in (None, each.machine_id)
        and wanted.meter in ("", each.meter)
    )


def of_month(tenant_id: UUID, month: Month, until: datetime | None = None) -> Iterator[Charge]:
    """What the tenant is charged in a month: as it was closed, or as it is up to now.

    With `until` what is held now is taken to be held until then: a forecast.
    """
    closed = Period.objects.unscoped("charging").filter(tenant=tenant_id, since=month.since).first()
    if closed is not None:
        lines = Charged.objects.unscoped("charging").filter(period=closed).iterator(AT_ONCE)
        return map(_as_charged, lines)
    return _computed(tenant_id, month, until or clocks.database_now())


def _computed(tenant_id: UUID, month: Month, until: datetime) -> Iterator[Charge]:
    rows = Interval.objects.unscoped("charging").filter(tenant=tenant_id)
    for tariff in tariffs(tenant_id, month.since, min(month.until, until)):
        yield from charge(usage.sums(rows, tariff.since, tariff.until), tariff)
    added = Adjustment.objects.unscoped("charging").filter(tenant=tenant_id, since=month.since)
    yield from (_by_hand(each, month) for each in added.order_by("created_at", "id"))


def _by_hand(added: Adjustment, month: Month) -> Charge:
    return Charge(
        tenant_id=added.tenant_id,
        category=added.category,
        description=added.description,
        since=month.since,
        until=month.until,
        currency=added.currency,
        cost=added.amount,
    )


def _as_charged(line: Charged) -> Charge:
    return Charge(**{name: getattr(line, name) for name in Charge.__dataclass_fields__})


def totals(lines: Iterable[Charge]) -> dict[str, Decimal]:
    """By currency, each in its smallest unit."""
    costs: dict[str, Decimal] = defaultdict(Decimal)
    for line in lines:
        costs[line.currency] += line.cost
    return {currency: total([cost], currency) for currency, cost in sorted(costs.items())}


def held(tenant_id: UUID) -> dict[tuple[str, str], int]:
    """What a tenant is charged for at this moment: amounts by meter and grade. One query."""
    rows = Interval.objects.unscoped("charging").filter(tenant=tenant_id, until=None).order_by()
    sums = rows.values_list("meter", "grade").annotate(total=Sum("amount"))
    return {(meter, grade): total for meter, grade, total in sums}


# -- prices ----------------------------------------------------------------------------------------------------------


def tariffs(tenant_id: UUID, since: datetime, until: datetime) -> list[Tariff]:
    """What is valid for the tenant in the period, cut wherever a price book begins or ends. Two queries."""
    rows = PriceBook.objects.unscoped("charging").filter(Q(tenant=tenant_id) | Q(tenant=None), since__lt=until)
    found = list(rows.filter(Q(until=None) | Q(until__gt=since)).prefetch_related("prices"))
    cuts = {since, until, *(moment for book in found for moment in (book.since, book.until) if moment)}
    moments = sorted(moment for moment in cuts if since <= moment <= until)
    return [_tariff(found, begin, end) for begin, end in pairwise(moments)]


def _tariff(books: Sequence[PriceBook], since: datetime, until: datetime) -> Tariff:
    valid = [book for book in books if book.since <= since and (book.until is None or until <= book.until)]
    by_precedence = sorted(valid, key=lambda book: book.tenant_id is None)
    currency = by_precedence[0].currency if by_precedence else settings.CURRENCY
    tiers: dict[tuple[str, str], Sequence[Tier]] = {}
    for book in reversed(by_precedence):
        if book.currency == currency:
            tiers |= _tiers(book)
    return Tariff(since, until, currency, tiers)


def _tiers(book: PriceBook) -> Mapping[tuple[str, str], Sequence[Tier]]:
    found: dict[tuple[str, str], list[Tier]] = defaultdict(list)
    for price in book.prices.all():
        found[price.meter, price.grade].append(Tier(price.above, price.unit_price, str(price.pk)))
    return found
