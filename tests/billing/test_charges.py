"""What usage costs: tiers, rounding and months, by examples and for all numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.billing.charges import Tariff, Tier, charge, rounded, split, total
from portal.billing.focus import moment, number
from portal.billing.months import Month, months_of
from portal.billing.usage import Usage
from portal.core.errors import Invalid

MARCH, APRIL = (datetime(2026, month, 1, tzinfo=UTC) for month in (3, 4))
ACME = UUID(int=1)
fractions = st.fractions(min_value=0, max_value=10**6)
prices = st.decimals(min_value=0, max_value=1000, places=10)


def used(quantity: Fraction, resource: int = 1, meter: str = "disk", grade: str = "fast") -> Usage:
    return Usage(ACME, "volume", UUID(int=resource), "data", None, meter, grade, MARCH, APRIL, quantity)


def tariff(**tiers: list[tuple[str, str]]) -> Tariff:
    """`disk=[("0", "1")]`, and `disk_fast` for a grade."""
    found = {
        (name.partition("_")[0], name.partition("_")[2]): [
            Tier(Decimal(above), Decimal(price)) for above, price in each
        ]
        for name, each in tiers.items()
    }
    return Tariff(MARCH, APRIL, "EUR", found)


def test_a_price_of_its_grade_stands_before_that_of_any() -> None:
    prices = tariff(disk=[("0", "1")], disk_fast=[("0", "3")])
    lines = list(charge([used(Fraction(2)), used(Fraction(2), 2, grade="slow")], prices))
    assert [line.cost for line in lines] == [6, 2]


def test_what_has_no_price_costs_nothing_and_is_told() -> None:
    (line,) = charge([used(Fraction(2))], tariff())
    assert (line.cost, line.quantity, line.price_id) == (0, 2, "")


def test_what_is_included_is_shared_by_all_resources() -> None:
    prices = tariff(disk=[("0", "0"), ("10", "2")])
    lines = list(charge([used(Fraction(8)), used(Fraction(8), 2)], prices))
    told = [(line.resource_id, line.quantity, line.unit_price) for line in lines]
    assert told == [(UUID(int=1), 8, 0), (UUID(int=2), 2, 0), (UUID(int=2), 6, 2)]


def test_below_the_first_tier_it_is_free() -> None:
    (free, paid) = charge([used(Fraction(3))], tariff(disk=[("1", "5")]))
    assert (free.cost, paid.cost) == (0, 10)


@given(before=fractions, quantity=fractions, bounds=st.sets(st.integers(1, 10**6), max_size=5))
def test_tiers_split_without_rest(before: Fraction, quantity: Fraction, bounds: set[int]) -> None:
    tiers = [Tier(Decimal(above), Decimal(1)) for above in sorted({0, *bounds})]
    parts = list(split(before, quantity, tiers))
    assert sum(part for _, part in parts) == quantity
    assert all(part > 0 for _, part in parts)
    assert [tier.above for tier, _ in parts] == sorted(tier.above for tier, _ in parts)


@given(amounts=st.lists(st.tuples(fractions, prices), max_size=20))
def test_a_month_is_off_by_no_more_than_its_lines_are_rounded(amounts: list[tuple[Fraction, Decimal]]) -> None:
    lines = [rounded(quantity * Fraction(price)) for quantity, price in amounts]
    exact = sum((quantity * Fraction(price) for quantity, price in amounts), Fraction(0))
    assert abs(Fraction(sum(lines)) - exact) <= len(lines) * Fraction(1, 2 * 10**10)


def test_halves_go_to_the_even_one() -> None:
    assert [total([Decimal(cost)], "EUR") for cost in ("0.005", "0.015", "-0.005")] == [
        Decimal("0.00"),
        Decimal("0.02"),
        Decimal("0.00"),
    ]
    assert (total([Decimal("1.5")], "JPY"), total([Decimal("1.0005")], "KWD")) == (2, Decimal("1.000"))


def test_months() -> None:
    assert str(Month(APRIL).before) == "2026-03"
    assert Month.named("2026-12").until == datetime(2027, 1, 1, tzinfo=UTC)
    assert Month.named("2026-01").before == Month.named("2025-12")
    assert [str(month) for month in months_of(MARCH, APRIL)] == ["2026-03"]


@pytest.mark.parametrize("text", ["", "2026", "2026-13", "2026-00", "0000-01", "２０２６-01", "2026-1", "2026-01-01"])
def test_what_is_no_month(text: str) -> None:
    with pytest.raises(Invalid):
        Month.named(text)


@pytest.mark.parametrize(("since", "until"), [(MARCH, MARCH), (APRIL, MARCH), (MARCH.replace(day=2), APRIL)])
def test_what_is_no_period_of_months(since: datetime, until: datetime) -> None:
    with pytest.raises(Invalid):
        list(months_of(since, until))


def test_numbers_and_moments_of_focus() -> None:
    assert [number(Decimal(text)) for text in ("0E-10", "1.2500000000", "100", "1E+3", "-0.50")] == [
        *("0", "1.25", "100", "1000", "-0.5")
    ]
    odd = MARCH.replace(microsecond=1)
    assert (moment(odd), moment(odd, is_end=True)) == ("2026-03-01T00:00:00Z", "2026-03-01T00:00:01Z")
