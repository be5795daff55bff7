"""What was used in a period: intervals cut to it, and their sums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from itertools import groupby
from uuid import UUID

from django.db.models import Q, QuerySet

from portal.billing.meters import microseconds, quantity
from portal.billing.models import Interval

AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Usage:
    """A resource's use of a meter within a period, in the meter's unit. `since` and `until` are its first and last."""

    tenant_id: UUID
    resource_type: str
    resource_id: UUID
    resource_name: str
    machine_id: UUID | None
    meter: str
    grade: str
    since: datetime
    until: datetime
    quantity: Fraction


def within(rows: QuerySet[Interval], since: datetime, until: datetime) -> QuerySet[Interval]:
    """Those that reach into the half-open period, and lasted."""
    return rows.filter(Q(until=None) | Q(until__gt=since), since__lt=until)


def cut(since: datetime, until: datetime | None, period: tuple[datetime, datetime]) -> tuple[datetime, datetime]:
    """The part of an interval in the period; nothing is used after the period's end, whatever is open."""
    begin, end = max(since, period[0]), period[1] if until is None else min(until, period[1])
    return begin, max(begin, end)


_FIELDS = ("tenant_id", "resource_id", "meter", "grade", "resource_type", "resource_name", "machine_id")


def sums(rows: QuerySet[Interval], since: datetime, until: datetime) -> Iterator[Usage]:
    """By resource, meter and grade, in this order. One row is in memory at a time, whatever the period has."""
    found = within(rows, since, until).order_by("tenant_id", "resource_id", "meter", "grade", "since", "id")
    values = found.values_list(*_FIELDS, "amount", "since", "until").iterator(AT_ONCE)
    for _, those in groupby(values, key=lambda row: row[:4]):
        yield _sum(those, (since, until))


def _sum(rows: Iterable[tuple], period: tuple[datetime, datetime]) -> Usage:  # type: ignore[type-arg]
    held, first, last = 0, None, period[0]
    for row in rows:
        begin, end = cut(row[-2], row[-1], period)
        held += row[-3] * microseconds(end - begin)
        first, last = begin if first is None else first, max(last, end)
    tenant_id, resource_id, meter, grade, kind, name, machine_id = row[:7]  # named as it was last
    total = quantity(meter, held)
    return Usage(tenant_id, kind, resource_id, name, machine_id, meter, grade, first or period[0], last, total)
