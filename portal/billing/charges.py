"""From what was used to what it costs. Pure: usage times prices, and nothing else.

How is rounded: quantities are exact; a line is quantity times price, rounded to ten decimals (half to even); a month is
the sum of its lines, rounded to the currency's smallest unit (half to even), once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from portal.billing.usage import Usage

DECIMALS = 10
# ISO 4217 currencies that have none or three decimals; all others have two.
_SMALLEST = {**dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF"), 0)}
_SMALLEST |= dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3)


@dataclass(frozen=True, slots=True)
class Tier:
    """The price of what goes beyond `above` units in a month."""

    above: Decimal
    unit_price: Decimal
    price_id: str = ""


@dataclass(frozen=True, slots=True)
class Tariff:
    """What is valid for a tenant from `since` until before `until`: tiers by meter and grade, in their order."""

    since: datetime
    until: datetime
    currency: str
    tiers: Mapping[tuple[str, str], Sequence[Tier]]

    def key_of(self, meter: str, grade: str) -> tuple[str, str]:
        """By which of its prices that is charged: of its grade, or of any."""
        return (meter, grade) if (meter, grade) in self.tiers else (meter, "")

    def tiers_of(self, key: tuple[str, str]) -> Sequence[Tier]:
        """What has no price costs nothing."""
        return self.tiers.get(key) or (Tier(Decimal(0), Decimal(0)),)


@dataclass(frozen=True, slots=True)
class Charge:
    """A line: so much of a resource's use at one price, or what was added by hand (without a resource)."""

    tenant_id: UUID
    category: str
    description: str
    since: datetime
    until: datetime
    currency: str
    cost: Decimal
    quantity: Decimal = Decimal(0)
    unit_price: Decimal = Decimal(0)
    price_id: str = ""
    resource_type: str = ""
    resource_id: UUID | None = None
    resource_name: str = ""
    machine_id: UUID | None = None
    meter: str = ""
    grade: str = ""


def charge(used: Iterable[Usage], tariff: Tariff) -> Iterator[Charge]:
    """Lines in the order of what was used, which fills the tiers of each price one after the other."""
    so_far: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for usage in used:
        key = tariff.key_of(usage.meter, usage.grade)
        for tier, part in split(so_far[key], usage.quantity, tariff.tiers_of(key)):
            yield _line(usage, tariff, tier, part)
        so_far[key] += usage.quantity


def split(before: Fraction, quantity: Fraction, tiers: Sequence[Tier]) -> Iterator[tuple[Tier, Fraction]]:
    """Which part of a quantity falls into which tier, after so much was used already."""
    if tiers[0].above:
        tiers = (Tier(Decimal(0), Decimal(0)), *tiers)
    begin, end = before, before + quantity
    ends = [*(Fraction(tier.above) for tier in tiers[1:]), None]
    for tier, upper in zip(tiers, ends, strict=True):
        part = (end if upper is None else min(end, upper)) - max(begin, Fraction(tier.above))
        if part > 0:
            yield tier, part


def rounded(amount: Fraction, decimals: int = DECIMALS) -> Decimal:
    """Exactly, half to even."""
    return Decimal(round(amount * 10**decimals)).scaleb(-decimals)


def total(costs: Iterable[Decimal], currency: str) -> Decimal:
    """The sum, in the currency's smallest unit."""
    return rounded(sum(map(Fraction, costs), Fraction(0)), smallest(currency))


def smallest(currency: str) -> int:
    """How many decimals its smallest unit has."""
    return _SMALLEST.get(currency, 2)


def _line(usage: Usage, tariff: Tariff, tier: Tier, part: Fraction) -> Charge:
    return Charge(
        tenant_id=usage.tenant_id,
        category="Usage",
        description=f"{usage.meter}{f' ({usage.grade})' if usage.grade else ''} of {usage.resource_name}"[:200],
        since=usage.since,
        until=usage.until,
        currency=tariff.currency,
        cost=rounded(part * Fraction(tier.unit_price)),
        quantity=rounded(part),
        unit_price=tier.unit_price,
        price_id=tier.price_id,
        resource_type=usage.resource_type,
        resource_id=usage.resource_id,
        resource_name=usage.resource_name,
        machine_id=usage.machine_id,
        meter=usage.meter,
        grade=usage.grade,
    )
