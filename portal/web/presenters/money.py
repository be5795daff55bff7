"""Usage and money in words."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from portal.billing.charges import Charge, total
from portal.billing.focus import number
from portal.billing.meters import UNITS, WORDS
from portal.billing.models import Price
from portal.core.units import THIN_SPACE

MOST_RESOURCES = 50
_KINDS = {"vm": "Machine", "volume": "Disk", "snapshot": "Snapshot", "image": "Image", "backup": "Backup"}


@dataclass
class Line:
    """A row of a table of costs; `quantity` is "" where units differ."""

    name: str
    detail: str
    quantity: str
    cost: str


@dataclass
class Costs:
    """A month in sums. `by_resource` has the dearest ones, and `others` how many more there are."""

    totals: str
    by_meter: list[Line] = field(default_factory=list)
    by_resource: list[Line] = field(default_factory=list)
    by_hand: list[Line] = field(default_factory=list)
    others: int = 0


def money(amounts: Mapping[str, Decimal]) -> str:
    """12.34 EUR; of several currencies one after the other."""
    return " + ".join(f"{amount:,f}{THIN_SPACE}{currency}" for currency, amount in amounts.items()) or "nothing"


def costs(lines: Iterable[Charge]) -> Costs:
    """In one pass; what is kept is a sum for each resource and meter."""
    every: dict[str, Decimal] = defaultdict(Decimal)
    meters: dict[tuple[str, str, str], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    resources: dict[tuple[UUID | None, str], Decimal] = defaultdict(Decimal)
    names: dict[UUID | None, tuple[str, str]] = {}
    by_hand = []
    for line in lines:
        every[line.currency] += line.cost
        if not line.meter:
            by_hand.append(Line(line.description, line.category, "", _money(line.cost, line.currency)))
            continue
        sums = meters[line.meter, line.grade, line.currency]
        sums[0], sums[1] = sums[0] + line.quantity, sums[1] + line.cost
        resources[line.resource_id, line.currency] += line.cost
        names[line.resource_id] = (line.resource_name, _KINDS.get(line.resource_type, line.resource_type))
    dearest = heapq.nlargest(MOST_RESOURCES, resources.items(), key=lambda item: item[1])
    order = list(UNITS)
    return Costs(
        totals=money({currency: total([cost], currency) for currency, cost in sorted(every.items())}),
        by_meter=[
            Line(WORDS[meter], grade, _quantity(meter, quantity), _money(cost, currency))
            for (meter, grade, currency), (quantity, cost) in sorted(
                meters.items(), key=lambda item: (order.index(item[0][0]), item[0])
            )
        ],
        by_resource=[Line(*names[id], "", _money(cost, currency)) for (id, currency), cost in dearest],
        by_hand=by_hand,
        others=max(len(resources) - MOST_RESOURCES, 0),
    )


def _quantity(meter: str, quantity: Decimal) -> str:
    return f"{round(quantity, 2):,f}{THIN_SPACE}{UNITS[meter].name}s"


def _money(cost: Decimal, currency: str) -> str:
    return money({currency: total([cost], currency)})


def price(each: Price) -> Line:
    """`0.01 EUR` for what goes beyond `above`."""
    above = f"above {number(each.above)} {UNITS[each.meter].name}s a month" if each.above else ""
    return Line(WORDS[each.meter], each.grade, above, number(each.unit_price))
