"""Keeping what was used, in bounded space: minutes for a day, quarters of an hour for a month."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from django.db.models import Avg, IntegerField, Max, Sum
from django.db.models.functions import Cast, ExtractMinute, TruncHour

from hosts.metering import Sample
from hosts.models import Host, HostUsage
from hosts.models.usage import MINUTE, QUARTER, Usage

KEPT = {MINUTE: timedelta(days=1), QUARTER: timedelta(days=31)}
# A minute is written when it is over and its host has answered.
LATE = timedelta(minutes=2)
ROWS_AT_ONCE = 500
U = TypeVar("U", bound=Usage)


def record(host: Host, sample: Sample) -> None:
    row = HostUsage(host=host, step=MINUTE, at=sample.at, length_ms=sample.length_ms, **asdict(sample.host))
    write(HostUsage, [row])


def write(model: type[U], rows: Iterable[U]) -> None:
    """What is there already stays: a clock may be set back."""
    model.objects.bulk_create(rows, batch_size=ROWS_AT_ONCE, ignore_conflicts=True)  # type: ignore[attr-defined]


def roll_up(model: type[U], now: datetime) -> None:
    """Write the quarters of an hour that are over, and remove what is older than is kept. Twice does no harm."""
    end = quarter_of(now - LATE)
    last = model.objects.filter(step=QUARTER).aggregate(last=Max("at"))["last"]  # type: ignore[attr-defined]
    begin = end - KEPT[MINUTE] if last is None else max(last + timedelta(seconds=QUARTER), end - KEPT[MINUTE])
    if begin < end:
        write(model, _quarters(model, begin, end))
    for step, age in KEPT.items():
        model.objects.filter(step=step, at__lt=now - age).delete()  # type: ignore[attr-defined]


def quarter_of(moment: datetime) -> datetime:
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)


def _quarters(model: type[U], begin: datetime, end: datetime) -> Iterable[U]:
    rows = model.objects.filter(step=MINUTE, at__gte=begin, at__lt=end).order_by()  # type: ignore[attr-defined]
    owner = f"{model.OWNER}_id"
    # PostgreSQL has fractions of a minute: whole numbers are divided as such
    minute = Cast(ExtractMinute("at", tzinfo=UTC), IntegerField())
    parts = rows.annotate(hour=TruncHour("at", tzinfo=UTC), part=minute / 15).values(owner, "hour", "part")
    for found in parts.annotate(**{name: Sum(name) for name in model.SUMS}, memory=Avg("memory_mib")).iterator():
        at = found.pop("hour") + timedelta(seconds=QUARTER) * found.pop("part")
        yield model(step=QUARTER, at=at, memory_mib=round(found.pop("memory")), **found)
