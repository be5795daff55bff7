"""A draft in JSON's types, as it is answered and kept; and what two of them do not agree in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from portal.billing.focus import number
from portal.billing.rates import Price
from portal.core.errors import DomainError
from portal.quotas.models import RESOURCES
from portal.quotas.selectors import Usage
from vms.planning.draft import Draft

Told = Mapping[str, Any]


def told(draft: Draft) -> dict[str, Any]:
    return {
        "price": _price(draft.price) if draft.price else None,
        "quota": {"before": _usage(draft.before), "after": _usage(draft.after) if draft.after else None},
        "placement": _placement(draft),
        "refusal": _refusal(draft.refusal) if draft.refusal else None,
        "help": list(_help(draft)),
        "warnings": list(draft.notes.warnings),
        "irreversible": list(draft.notes.irreversible),
    }


def differences(then: Told, now: Told) -> Iterator[str]:
    """In words: why it is possible or not, its price, what it takes of the quota, the limits that it sets.

    What the tenant used before it may be another by now: that harms nobody.
    """
    if then["refusal"] is None and now["refusal"] is not None:
        yield "It was possible when it was planned."
    elif now["refusal"] is None and then["refusal"] is not None:
        yield "It was not possible when it was planned, and is now."
    elif _why(then) != _why(now):
        yield f"When it was planned the reason was: {_why(then)}"
    if now["refusal"] is not None or then["refusal"] is not None:
        return
    if _change(then) != _change(now):
        yield "It takes another part of the quota."
    if _costs(then) != _costs(now):
        yield f"It costs {_costs(now)}, and not {_costs(then)}."


def _why(plan: Told) -> str:
    return plan["refusal"]["detail"] if plan["refusal"] else ""


def _change(plan: Told) -> Mapping[str, object]:
    """Of what is used; and where limits are set, of which they were and become."""
    before, after = plan["quota"]["before"], plan["quota"]["after"]
    used = {name: after["used"][name] - before["used"][name] for name in RESOURCES}
    limits = {
        name: (before["limits"][name], after["limits"][name])
        for name in RESOURCES
        if before["limits"][name] != after["limits"][name]
    }
    return {"used": used, "limits": limits}


def _costs(plan: Told) -> str:
    price = plan["price"]
    if price is None:
        return "nothing that may be told"
    return f"{price['hour']['change']} {price['currency']} an hour and {price['month']['change']} a month more"


def _price(price: Price) -> dict[str, Any]:
    """What it changes, and all that the tenant holds before and after it."""
    units = {
        unit: {
            "change": number(getattr(price.change, unit)),
            "before": number(getattr(price.before, unit)),
            "after": number(getattr(price.after, unit)),
        }
        for unit in ("hour", "month")
    }
    return {"currency": price.currency, **units}


def _usage(usage: Usage) -> dict[str, Any]:
    return {"limits": {name: usage.limits[name] for name in RESOURCES}, "used": dict(usage.used)}


def _placement(draft: Draft) -> dict[str, Any] | None:
    """None where nothing is placed."""
    where = draft.where
    if where is not None:
        return {
            "fits": True,
            "service_class": where.service_class,
            "storage_class": where.storage_class,
            "host": where.host,
            "refused": where.refused,
        }
    if draft.refusal is None or draft.refusal.code != "no_capacity":
        return None
    return {"fits": False, "service_class": None, "storage_class": None, "host": None, "refused": draft.refused}


def _help(draft: Draft) -> Iterator[str]:
    if draft.help.sizes:
        yield f"Smaller sizes that would do: {', '.join(each.slug for each in draft.help.sizes)}."
    for resource, limit in draft.help.limits.items():
        yield f"Ask for {resource} of {limit} at /api/v1/quotas/{draft.tenant.slug}/requests."


def _refusal(refusal: DomainError) -> dict[str, Any]:
    return {
        "status": refusal.status,
        "code": refusal.code,
        "detail": refusal.detail,
        "field": refusal.field,
        "extra": refusal.extra,
    }
