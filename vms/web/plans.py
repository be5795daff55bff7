"""What a form would come to, beside it: price, quota before and after, why not, what cannot be undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from portal.billing.focus import number
from portal.billing.rates import Price
from portal.core.units import THIN_SPACE
from portal.quotas.models import RESOURCES
from portal.web.presenters.money import money
from vms.planning.draft import Draft
from vms.web.create_page import SummaryLine, summary_line


@dataclass(frozen=True)
class PlanCard:
    """`why_not` is the refusal, `sizes` the names of those that would do, `may_ask` whether more of the quota would.

    `month` and `hour` are what it adds, `total` the tenant's month with it; "" where nothing has a price.
    """

    why_not: str = ""
    sizes: str = ""
    may_ask: bool = False
    month: str = ""
    hour: str = ""
    total: str = ""
    lines: Sequence[SummaryLine] = ()
    warnings: Sequence[str] = ()
    irreversible: Sequence[str] = ()


def card(draft: Draft) -> PlanCard:
    if draft.refusal is not None:
        sizes = ", ".join(each.name for each in draft.help.sizes)
        return PlanCard(why_not=draft.refusal.detail, sizes=sizes, may_ask=bool(draft.help.limits))
    return replace(
        _priced(draft.price) if draft.price else PlanCard(),
        lines=_lines(draft),
        warnings=draft.notes.warnings,
        irreversible=draft.notes.irreversible,
    )


def _lines(draft: Draft) -> list[SummaryLine]:
    """Of the resources that it changes."""
    before, change = draft.before, draft.change
    return [
        summary_line(name, before.used[name], before.limits[name], change[name]) for name in RESOURCES if change[name]
    ]


def _priced(price: Price) -> PlanCard:
    if not price.before.month and not price.after.month and not price.change.hour:
        return PlanCard()
    return PlanCard(
        month=f"{_sign(price.change.month)}{money({price.currency: abs(price.change.month)})}",
        hour=f"{_sign(price.change.hour)}{number(abs(price.change.hour))}{THIN_SPACE}{price.currency}",
        total=money({price.currency: price.after.month}),
    )


def _sign(amount: Decimal) -> str:
    return "−" if amount < 0 else "+" if amount else ""
