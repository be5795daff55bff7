"""What is held costs by the hour and by the month, while nothing changes. Pure.

A month is the twelfth of a year, 730 hours: what a machine costs does not hang on the month in which it is made. Tiers
and included amounts are those of such a month, and an hour is its 730th part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Self

from portal.billing.charges import Tariff, rounded, smallest, split
from portal.billing.meters import UNITS

HOURS_A_MONTH = 730
Held = Mapping[tuple[str, str], int]  # amounts by meter and grade, as intervals have them


@dataclass(frozen=True, slots=True)
class Rate:
    """`hour` has up to ten decimals, `month` those of the currency."""

    hour: Decimal
    month: Decimal

    @classmethod
    def of(cls, monthly: Fraction, currency: str) -> Self:
        return cls(rounded(monthly / HOURS_A_MONTH), rounded(monthly, smallest(currency)))


@dataclass(frozen=True, slots=True)
class Price:
    """Of all that a tenant holds, `before` and `after` a change, and of the change itself, exactly, then rounded."""

    currency: str
    before: Rate
    after: Rate
    change: Rate


def price(before: Held, after: Held, tariff: Tariff) -> Price:
    costs, currency = (monthly(before, tariff), monthly(after, tariff)), tariff.currency
    return Price(currency, *(Rate.of(cost, currency) for cost in (*costs, costs[1] - costs[0])))


def monthly(held: Held, tariff: Tariff) -> Fraction:
    """Exactly. Grades that have no price of their own fill the tiers of their meter's together."""
    cost, so_far = Fraction(0), defaultdict[tuple[str, str], Fraction](Fraction)
    for (meter, grade), amount in sorted(held.items()):
        key, quantity = tariff.key_of(meter, grade), Fraction(amount * HOURS_A_MONTH, UNITS[meter].amounts)
        for tier, part in split(so_far[key], quantity, tariff.tiers_of(key)):
            cost += part * Fraction(tier.unit_price)
        so_far[key] += quantity
    return cost
