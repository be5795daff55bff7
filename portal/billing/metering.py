"""From what rows say to usage intervals, in the transaction that changed them.

Rows that are metered (`portal.billing.metered`) call `follow` whenever they change. It compares what they hold now with
the intervals that are open, ends those that are not so any more and begins the others. There is no counter, and doing
it twice changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Max, Q

from portal.billing.models import Interval, Period
from portal.core import clocks
from portal.events.models import Event

Key = tuple[str, str]  # meter and grade
AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Holding:
    """What a resource holds now: amounts by meter and grade. See `Interval` for the other fields."""

    tenant_id: UUID
    resource_type: str
    resource_id: UUID
    resource_name: str
    amounts: Mapping[Key, int]
    machine_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Reader:
    """`read` gives the holdings of resources of a kind, and of those that go by them, such as a machine's disks.

    `with_parts` are the kinds of the latter, found by `machine_id`.
    """

    read: Callable[[Collection[UUID]], Iterable[Holding]]
    with_parts: Sequence[str] = ()


readers: dict[str, Reader] = {}  # by kind of resource; the apps add theirs at start


def follow(kind: str, ids: Collection[UUID]) -> None:
    """Let intervals say what these resources hold now; one that has no row any more holds nothing.

    Must run in the transaction of the change. Moments never go back: where the clock was set back, an interval begins
    where the one before it ended.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("follow() belongs into the transaction of what it meters")
    reader = readers[kind]
    scope = Q(resource_id__in=list(ids)) | Q(machine_id__in=list(ids), resource_type__in=reader.with_parts)
    rows = Interval.objects.unscoped("metering")
    # locked before the holdings are read, so of two changes at once the later one sees the earlier
    open_ = list(rows.filter(scope, until=None).order_by("pk").select_for_update())
    holdings = [holding for holding in reader.read(ids) if holding.amounts]
    wanted = {
        _key_of(holding, key): (holding, amount) for holding in holdings for key, amount in holding.amounts.items()
    }
    kept = {_key(interval) for interval in open_ if _is_still(interval, wanted.get(_key(interval)))}
    ended = [interval for interval in open_ if _key(interval) not in kept]
    begun = [(key, *found) for key, found in wanted.items() if key not in kept]
    if not ended and not begun:
        return
    changed = {interval.resource_id: interval.tenant_id for interval in ended}
    changed |= {holding.resource_id: holding.tenant_id for _, holding, _ in begun}
    moments = _moments(changed)
    for at, those in _by_moment(ended, moments).items():
        rows.filter(pk__in=those).update(until=at, has_causes=False)
    Interval.objects.bulk_create(_begin(holding, key, amount, moments[key[0]]) for key, holding, amount in begun)


def open_amounts() -> dict[UUID, dict[Key, int]]:
    """What is metered now, by resource. One query."""
    found: dict[UUID, dict[Key, int]] = defaultdict(dict)
    rows = Interval.objects.unscoped("audit").filter(until=None).order_by()
    for resource_id, meter, grade, amount in rows.values_list("resource_id", "meter", "grade", "amount"):
        found[resource_id][meter, grade] = amount
    return found


def take_causes(events: Sequence[Event]) -> None:
    """Ends of intervals that wait for their reason: this is it, where it is told of that resource or its machine.

    As many queries for one event as for many.
    """
    by_target = {event.target_id: event for event in events}
    rows = Interval.objects.unscoped("metering")
    those = Q(resource_id__in=list(by_target)) | Q(machine_id__in=list(by_target))
    waiting = list(rows.filter(those, has_causes=False))
    for interval in waiting:
        event = by_target.get(interval.resource_id) or by_target[interval.machine_id]  # type: ignore[index]
        if interval.opened_by_id is None:
            interval.opened_by = event
        if interval.closed_by_id is None and interval.until is not None:
            interval.closed_by = event
        interval.has_causes = True
    if waiting:
        rows.bulk_update(waiting, ["opened_by", "closed_by", "has_causes"], batch_size=AT_ONCE)


def _key(interval: Interval) -> tuple[UUID, str, str]:
    return interval.resource_id, interval.meter, interval.grade


def _key_of(holding: Holding, key: Key) -> tuple[UUID, str, str]:
    return holding.resource_id, *key


def _is_still(interval: Interval, wanted: tuple[Holding, int] | None) -> bool:
    if wanted is None:
        return False
    holding, amount = wanted
    now = (holding.tenant_id, holding.machine_id, amount)
    return (interval.tenant_id, interval.machine_id, interval.amount) == now


def _moments(tenants: Mapping[UUID, UUID]) -> Mapping[UUID, datetime]:
    """For each resource of these tenants the time now.

    It is never before anything that is known of the resource, nor in a month that is closed.
    """
    now = clocks.database_now()
    rows = Interval.objects.unscoped("metering").filter(resource_id__in=list(tenants)).order_by()
    known = rows.values_list("resource_id").annotate(since=Max("since"), until=Max("until"))
    last = {id: max(since, until or since) for id, since, until in known}
    closed = Period.objects.unscoped("metering").filter(tenant__in=set(tenants.values())).order_by()
    ends = dict(closed.values_list("tenant").annotate(end=Max("until")))
    return {id: max(now, last.get(id, now), ends.get(tenant, now)) for id, tenant in tenants.items()}


def _by_moment(intervals: Iterable[Interval], moments: Mapping[UUID, datetime]) -> Mapping[datetime, list[UUID]]:
    found: dict[datetime, list[UUID]] = defaultdict(list)
    for interval in intervals:
        found[moments[interval.resource_id]].append(interval.pk)
    return found


def _begin(holding: Holding, key: tuple[UUID, str, str], amount: int, at: datetime) -> Interval:
    _, meter, grade = key
    return Interval(
        tenant_id=holding.tenant_id,
        resource_type=holding.resource_type,
        resource_id=holding.resource_id,
        resource_name=holding.resource_name[:100],
        machine_id=holding.machine_id,
        meter=meter,
        grade=grade,
        amount=amount,
        since=at,
    )
