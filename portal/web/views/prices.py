"""Price books, and the months of a tenant, as the provider keeps them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.billing import selectors, services
from portal.billing.meters import UNITS, WORDS
from portal.billing.models import Category, PriceBook
from portal.billing.months import Month
from portal.core import clocks
from portal.core.errors import NotFound
from portal.tenancy import selectors as tenancy
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from portal.web.paging import page_of
from portal.web.presenters import money as present
from portal.web.tenant import tenant_of

_AMOUNT: dict[str, Any] = {"max_digits": 20, "decimal_places": 10, "min_value": 0}
_DATE = {"type": "date"}


class PriceBookForm(forms.Form):
    """A field for each meter; what has tiers, or a price for a grade, is a line of `more`."""

    name = forms.CharField(max_length=100)
    tenant = forms.CharField(required=False, max_length=63, help_text="Its slug. Empty: for everybody.")
    currency = forms.CharField(max_length=3, min_length=3, help_text="ISO 4217, such as EUR.")
    since = forms.DateField(
        label="Valid from", widget=forms.DateInput(attrs=_DATE), help_text="From 00:00 UTC, until further notice."
    )
    more = forms.CharField(
        required=False,
        label="Grades and tiers",
        widget=forms.Textarea(attrs={"rows": 4, "class": "mono", "placeholder": "disk/fast 0.0004\nbackup>100 0.0001"}),
        help_text="One a line: METER/GRADE PRICE, or METER>UNITS PRICE for what goes beyond so many units in a month.",
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._actor = actor
        for meter, unit in UNITS.items():
            label = f"{WORDS[meter]}, a {unit.name}"
            self.fields[meter] = forms.DecimalField(required=False, label=label, help_text=meter, **_AMOUNT)
        self.order_fields([name for name in self.fields if name != "more"])

    def clean_tenant(self) -> Tenant | None:
        slug = self.cleaned_data["tenant"]
        try:
            return tenancy.tenant(self._actor, slug) if slug else None
        except NotFound as error:
            raise ValidationError(error.detail) from error

    def clean_since(self) -> datetime:
        day = self.cleaned_data["since"]
        return datetime(day.year, day.month, day.day, tzinfo=UTC)

    def clean_more(self) -> list[services.NewPrice]:
        lines = self.cleaned_data["more"].splitlines()
        return [_price(line) for line in lines[: services.MOST_PRICES + 1] if line.strip()]

    @property
    def prices(self) -> list[services.NewPrice]:
        given = {meter: self.cleaned_data[meter] for meter in UNITS}
        own = [services.NewPrice(meter, price) for meter, price in given.items() if price is not None]
        return [*own, *self.cleaned_data["more"]]


def _price(line: str) -> services.NewPrice:
    what, _, price = line.strip().partition(" ")
    what, _, above = what.partition(">")
    meter, _, grade = what.partition("/")
    amount = forms.DecimalField(**_AMOUNT)
    if meter not in UNITS:
        raise ValidationError(f"There is no meter “{meter[:30]}”.")
    above_units, unit_price = amount.clean(above) if above else Decimal(0), amount.clean(price.strip())
    return services.NewPrice(meter, unit_price, grade, above_units)


class AdjustmentForm(forms.Form):
    month = forms.CharField(max_length=7, help_text="Such as 2026-11.")
    category = forms.ChoiceField(choices=[(each.value, each.label) for each in (Category.CREDIT, Category.ADJUSTMENT)])
    amount = forms.DecimalField(
        max_digits=12, decimal_places=2, help_text="A credit is taken off; an adjustment may be below 0."
    )
    currency = forms.CharField(max_length=3, min_length=3)
    description = forms.CharField(max_length=200, help_text="Its members read it on their bill.")


@require_safe
def price_list(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    actor.require(Permission.HOST_READ)
    page, now = page_of(request, selectors.books(actor)), clocks.database_now()
    books = [(book, _state(book, now), [present.price(each) for each in book.prices.all()]) for book in page.rows]
    context = {"page": page, "books": books, "may_write": actor.can(Permission.BILLING_WRITE)}
    return render(request, "portal/provider_prices.html", context)


def _state(book: PriceBook, now: datetime) -> tuple[str, str]:
    """The word and its look."""
    if book.since > now:
        return "planned", "working"
    return ("valid", "running") if book.until is None or book.until > now else ("over", "stopped")


@require_http_methods(["GET", "HEAD", "POST"])
def price_add(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    actor.require(Permission.BILLING_WRITE)
    form = PriceBookForm(request.POST or None, actor=actor)
    if request.method == "POST" and form.is_valid():
        wanted = {name: form.cleaned_data[name] for name in ("name", "tenant", "currency", "since")}
        with refusals_in(form):
            services.create_book(actor=actor, prices=form.prices, **wanted)
            messages.success(request, "The price book was added.")
            return redirect("provider-prices")
    context = {"form": form, "submit": "Add price book", "cancel_url": reverse("provider-prices")}
    return render(request, "portal/provider_price_add.html", context, status=status_of(form))


@require_POST
def price_delete(request: HttpRequest, book_id: UUID) -> HttpResponse:
    actor = actor_of(request)
    book = selectors.book(actor, book_id, Permission.BILLING_WRITE)
    with refusals_as_notice(request):
        services.delete_book(actor=actor, book=book)
        messages.success(request, "The price book was deleted.")
    return redirect("provider-prices")


@require_http_methods(["GET", "HEAD", "POST"])
def tenant_billing(request: HttpRequest, slug: str) -> HttpResponse:
    """The tenant's closed months; POST adds a credit or an adjustment."""
    actor, tenant = actor_of(request), tenant_of(request, slug)
    actor.require(Permission.HOST_READ)
    this = Month.of(clocks.database_now())
    form = AdjustmentForm(request.POST or None, initial={"month": str(this)})
    if request.method == "POST":
        actor.require(Permission.BILLING_WRITE, tenant.pk)
        if form.is_valid():
            with refusals_in(form):
                wanted = {**form.cleaned_data, "month": Month.named(form.cleaned_data["month"])}
                services.adjust(actor=actor, tenant=tenant, **wanted)
                messages.success(request, "It was added to the month.")
                return redirect("provider-tenant-billing", slug)
    closed = list(selectors.periods(actor, tenant)[:24])
    context = {
        "tenant": tenant,
        "form": form,
        "last": None if closed and closed[0].since == this.before.since else this.before,
        "periods": [(each, present.money(_decimals(each.totals))) for each in closed],
        "adjustments": selectors.adjustments(actor, tenant)[:50],
        "may_write": actor.can(Permission.BILLING_WRITE, tenant.pk),
    }
    return render(request, "portal/provider_tenant_billing.html", context, status=status_of(form))


def _decimals(totals: dict[str, str]) -> dict[str, Decimal]:
    return {currency: Decimal(amount) for currency, amount in totals.items()}


@require_POST
def tenant_close_month(request: HttpRequest, slug: str) -> HttpResponse:
    actor, tenant = actor_of(request), tenant_of(request, slug)
    actor.require(Permission.BILLING_WRITE, tenant.pk)
    with refusals_as_notice(request):
        month = Month.named(request.POST.get("month", ""))
        services.close_period(actor=actor, tenant=tenant, month=month)
        messages.success(request, f"{month} is closed: its charges stay as they are.")
    return redirect("provider-tenant-billing", slug)
