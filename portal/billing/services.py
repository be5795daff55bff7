"""Prices, corrections by hand, and the end of a month."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q

from portal.billing import selectors
from portal.billing.charges import Charge
from portal.billing.meters import UNITS
from portal.billing.models import Adjustment, Category, Charged, Period, Price, PriceBook
from portal.billing.months import Month
from portal.core import clocks, text
from portal.core.errors import Conflict, Invalid
from portal.events import log
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission

MOST_PRICES = 200
LARGEST = Decimal(10) ** 9
LINES_AT_ONCE = 1000
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


@dataclass(frozen=True)
class NewPrice:
    """See `Price`: of a unit of a meter, for what goes beyond `above` in a month."""

    meter: str
    unit_price: Decimal
    grade: str = ""
    above: Decimal = Decimal(0)


@transaction.atomic
def create_book(
    *,
    actor: Actor,
    name: str,
    currency: str,
    since: datetime,
    prices: Sequence[NewPrice],
    tenant: Tenant | None = None,
    until: datetime | None = None,
) -> PriceBook:
    """Prices from `since` on; the book that was valid until further notice ends there.

    Raises Invalid at the field, Forbidden, or Conflict where another book begins after that, or a month that is closed
    would be charged anew.
    """
    actor.require(Permission.BILLING_WRITE)
    _check_currency(currency)
    if until is not None and until <= since:
        raise Invalid("It must end after it begins.", field="until")
    _check_prices(prices)
    _refuse_closed(tenant, since)
    book = PriceBook(name=text.label(name), tenant=tenant, currency=currency, since=since, until=until)
    book.created_by = actor.label
    _make_room(book)
    try:
        with transaction.atomic():
            book.save(force_insert=True)
    except IntegrityError as error:  # somebody was faster
        raise _overlap() from error
    Price.objects.bulk_create(Price(book=book, **asdict(price)) for price in prices)
    log.record("price-book.created", actor=actor, target=book, after=_facts(book))
    return book


@transaction.atomic
def end_book(*, actor: Actor, book: PriceBook, until: datetime) -> PriceBook:
    """What it has priced until then stays so."""
    actor.require(Permission.BILLING_WRITE)
    if until <= max(book.since, clocks.database_now()):
        raise Invalid("A book ends in the future, and after it begins.", field="until")
    if book.until is not None and until > book.until:
        raise Invalid("It ends before that already.", field="until")
    before, book.until = _facts(book), until
    book.save(update_fields=["until"])
    log.record("price-book.ended", actor=actor, target=book, before=before, after=_facts(book))
    return book


@transaction.atomic
def delete_book(*, actor: Actor, book: PriceBook) -> None:
    """One whose time has not begun; what has begun can be ended only."""
    actor.require(Permission.BILLING_WRITE)
    if book.since <= clocks.database_now():
        raise Conflict("Its prices are valid already; end it instead.", code="price_book_valid")
    log.record("price-book.deleted", actor=actor, target=book, before=_facts(book))
    book.delete()


@transaction.atomic
def adjust(
    *,
    actor: Actor,
    tenant: Tenant,
    month: Month,
    category: str,
    amount: Decimal,
    currency: str,
    description: str,
) -> Adjustment:
    """Add to a month that is not closed: a credit, given as what is taken off, or an adjustment either way."""
    actor.require(Permission.BILLING_WRITE, tenant.pk)
    _check_currency(currency)
    if category not in (Category.CREDIT, Category.ADJUSTMENT):
        raise Invalid("Choose Credit or Adjustment.", field="category")
    if not amount.is_finite() or not amount or abs(amount) > LARGEST or amount != round(amount, 2):
        raise Invalid(f"Use an amount up to {LARGEST:,.0f} with two decimals at most, and not 0.", field="amount")
    if category == Category.CREDIT and amount < 0:
        raise Invalid("Give a credit as a positive amount; it is taken off.", field="amount")
    _lock(tenant)
    _refuse_closed(tenant, month.since)
    added = Adjustment(tenant=tenant, since=month.since, category=category, currency=currency, created_by=actor.label)
    added.amount = -amount if category == Category.CREDIT else amount
    added.description = text.label(description, field="description", longest=200)
    added.save()
    after = {"month": str(month), "amount": f"{added.amount} {currency}", "description": added.description}
    kind = "charges.credited" if category == Category.CREDIT else "charges.adjusted"
    log.record(kind, actor=actor, target=tenant, after=after)
    return added


@transaction.atomic
def close_period(*, actor: Actor, tenant: Tenant, month: Month) -> Period:
    """Freeze the charges of a month that is over. What turns out wrong later is adjusted in a later month."""
    actor.require(Permission.BILLING_WRITE, tenant.pk)
    if clocks.database_now() < month.until:
        raise Conflict(f"{month} is not over yet.", code="month_not_over", field="month")
    _lock(tenant)
    if Period.objects.unscoped("closing").filter(tenant=tenant, since=month.since).exists():
        raise Conflict(f"{month} is closed already.", code="month_closed", field="month")
    totals = {currency: str(cost) for currency, cost in selectors.totals(_lines(tenant, month)).items()}
    period = Period(tenant=tenant, since=month.since, until=month.until, totals=totals, closed_by=actor.label)
    lines = enumerate(_lines(tenant, month))  # of now: a moment later the period is there, and its lines are these
    first = list(islice(lines, LINES_AT_ONCE))
    period.save()
    while first:
        Charged.objects.bulk_create(_frozen(period, position, line) for position, line in first)
        first = list(islice(lines, LINES_AT_ONCE))
    log.record("charges.closed", actor=actor, target=tenant, after={"month": str(month), **totals})
    return period


def _lines(tenant: Tenant, month: Month) -> Iterator[Charge]:
    return selectors.of_month(tenant.pk, month)


def _frozen(period: Period, position: int, line: Charge) -> Charged:
    return Charged(period=period, position=position, **{name: getattr(line, name) for name in line.__slots__})


def _lock(tenant: Tenant) -> None:
    """What is added to a month waits for its close, or the other way round."""
    list(Tenant.objects.unscoped("row lock").filter(pk=tenant.pk).select_for_update().values_list("pk"))


def _make_room(book: PriceBook) -> None:
    """The one that was valid until further notice ends where this begins. Of two at once the later one sees that."""
    rows = PriceBook.objects.unscoped("pricing").filter(tenant=book.tenant).select_for_update()
    rows = rows.filter(Q(until=None) | Q(until__gt=book.since))
    if book.until is not None:
        rows = rows.filter(since__lt=book.until)
    for other in rows.order_by("pk"):
        if other.until is not None or other.since >= book.since:
            raise _overlap()
        other.until = book.since
        other.save(update_fields=["until"])


def _overlap() -> Conflict:
    return Conflict("Another price book is valid in that time. End or delete it first.", code="overlap", field="since")


def _refuse_closed(tenant: Tenant | None, since: datetime) -> None:
    rows = Period.objects.unscoped("pricing").filter(until__gt=since)
    if (rows if tenant is None else rows.filter(tenant=tenant)).exists():
        raise Conflict("A month in that time is closed.", code="month_closed", field="since")


def _check_currency(currency: str) -> None:
    if not _CURRENCY.fullmatch(currency):
        raise Invalid("Use the three capital letters of ISO 4217, such as EUR.", field="currency")


def _check_prices(prices: Sequence[NewPrice]) -> None:
    if not 1 <= len(prices) <= MOST_PRICES:
        raise Invalid(f"Give 1 to {MOST_PRICES} prices.", field="prices")
    for price in prices:
        if price.meter not in UNITS:
            raise Invalid(f"There is no such meter. There are: {', '.join(UNITS)}.", field="prices")
        for amount in (price.unit_price, price.above):
            if not amount.is_finite() or not 0 <= amount <= LARGEST or amount != round(amount, 10):
                raise Invalid("Use amounts that are not negative, with ten decimals at most.", field="prices")
        if price.grade:
            text.slug(price.grade, field="prices")
    if len({(price.meter, price.grade, price.above) for price in prices}) < len(prices):
        raise Invalid("There are two prices for the same.", code="duplicate", field="prices")


def _facts(book: PriceBook) -> dict[str, Any]:
    return {
        "tenant": book.tenant.slug if book.tenant else None,
        "currency": book.currency,
        "since": book.since.isoformat(),
        "until": book.until.isoformat() if book.until else None,
    }
