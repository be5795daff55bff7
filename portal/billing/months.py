"""Calendar months, by which is charged: in UTC, half-open. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from portal.core.errors import Invalid

FIRST_YEAR, LAST_YEAR = 2000, 9998
MOST_MONTHS = 24


@dataclass(frozen=True, slots=True, order=True)
class Month:
    since: datetime

    @classmethod
    def of(cls, moment: datetime) -> Self:
        moment = moment.astimezone(UTC)
        return cls(datetime(moment.year, moment.month, 1, tzinfo=UTC))

    @classmethod
    def named(cls, text: str, field: str = "month") -> Self:
        """From `2026-11`; Invalid at `field`."""
        year, _, month = text.partition("-")
        is_one = text.isascii() and len(year) == 4 and len(month) == 2 and (year + month).isdigit()
        if not is_one or not FIRST_YEAR <= int(year) <= LAST_YEAR or not 1 <= int(month) <= 12:
            raise Invalid("Use a month such as 2026-11.", field=field)
        return cls(datetime(int(year), int(month), 1, tzinfo=UTC))

    @property
    def until(self) -> datetime:
        return self.next.since

    @property
    def next(self) -> Month:
        year, month = divmod(self.since.year * 12 + self.since.month, 12)
        return Month(self.since.replace(year=year, month=month + 1))

    @property
    def before(self) -> Month:
        year, month = divmod(self.since.year * 12 + self.since.month - 2, 12)
        return Month(self.since.replace(year=year, month=month + 1))

    def __str__(self) -> str:
        return f"{self.since:%Y-%m}"


def months_of(since: datetime, until: datetime) -> Iterator[Month]:
    """Those of a period that is made of whole ones. Raises Invalid."""
    first, last = Month.of(since), Month.of(until)
    if first.since != since or last.since != until or not first < last:
        raise Invalid("Charges are by whole months in UTC: use the first moments of two months.", field="from")
    count = 0
    while first < last:
        if (count := count + 1) > MOST_MONTHS:
            raise Invalid(f"At most {MOST_MONTHS} months at once.", field="to")
        yield first
        first = first.next
