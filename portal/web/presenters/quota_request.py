"""Requests for more quota in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from portal.quotas.consequences import Consequence
from portal.quotas.models import IncreaseRequest, RequestState
from portal.quotas.words import amount
from portal.web.presenters.meter import NAMES

_FILTERS = {"": "All", "pending": "Waiting", "approved": "Approved", "refused": "Refused"}


@dataclass(frozen=True)
class RequestRow:
    """`wanted` is `Memory 32 GiB, vCPU 40`; `status` a word with a look."""

    asked: IncreaseRequest
    wanted: str
    status: str
    by: str


def row(asked: IncreaseRequest) -> RequestRow:
    wanted = ", ".join(f"{NAMES[name]} {amount(name, limit)}" for name, limit in asked.wanted.items())
    by = "the provider's rule" if asked.decided_by == "rule" else asked.decided_by
    return RequestRow(asked, wanted, asked.status, by)


def rows(asked: Iterable[IncreaseRequest]) -> list[RequestRow]:
    return [row(each) for each in asked]


def asked(made: IncreaseRequest) -> str:
    if made.state == RequestState.APPROVED:
        return "Approved by the provider's rule. The limits are higher now."
    return "Asked. An administrator answers; you see it here."


def chips(chosen: str) -> list[dict[str, Any]]:
    return [
        {"label": label, "url": f"?state={key}" if key else "?", "is_current": key == chosen}
        for key, label in _FILTERS.items()
    ]


@dataclass(frozen=True)
class ConsequenceRow:
    name: str
    used: str
    limit: str
    wanted: str
    promised: str
    promised_after: str
    capacity: str
    over_commit: str
    fits: bool


def consequence(each: Consequence) -> ConsequenceRow:
    return ConsequenceRow(
        name=NAMES[each.resource],
        used=amount(each.resource, each.used),
        limit=_amount(each.resource, each.limit),
        wanted=amount(each.resource, each.wanted),
        promised=_amount(each.resource, each.promised),
        promised_after=_amount(each.resource, each.promised_after),
        capacity="not bounded" if each.capacity is None else amount(each.resource, each.capacity),
        over_commit=_change(each.over_commit, each.over_commit_after),
        fits=each.fits,
    )


def _amount(resource: str, value: int | None) -> str:
    return "no limit" if value is None else amount(resource, value)


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "–"
    return f"{before:g} → {after:g}"
