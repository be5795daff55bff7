"""A month of a thousand machines with random lives: the bill against one that is made from their stories alone."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import pytest
from django.db import transaction

from portal.billing import selectors
from portal.billing.models import Charged
from portal.billing.months import Month
from portal.billing.services import NewPrice, close_period, create_book
from portal.tenancy.gate import SYSTEM
from tests.billing.conftest import Clock
from tests.world import World
from vms.models import VM, Lifecycle, Power

MACHINES, STEPS = 1000, 60
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
PRICES = {
    ("vcpu", ""): [("0", "0.0123456789"), ("100000", "0.01")],
    ("vcpu", "guaranteed"): [("0", "0.03")],
    ("vcpu-off", ""): [("0", "0.001")],
    ("memory", ""): [("0", "0"), ("1000", "0.0045")],
    ("memory-off", ""): [("0", "0.0000000001")],
}
Story = list[tuple[datetime, dict[str, object]]]


def live(world: World, clock: Clock, rng: random.Random) -> dict[UUID, Story]:
    """Machines come, change and go, many at a time; the clock is set back now and then. What each was, and when."""
    stories: dict[UUID, Story] = defaultdict(list)
    common = {"tenant": world.acme, "flavor": world.flavor, "image": world.image, "host": world.host, "disk_gib": 1}
    moment = clock.now = MARCH - timedelta(days=3)
    ids: list[UUID] = []
    for step in range(STEPS):
        clock.go(timedelta(microseconds=rng.randrange(-(10**9), 12 * 3600 * 10**6)))
        moment = max(moment, clock.now)
        if len(ids) < MACHINES:
            facts = {"vcpus": rng.randint(1, 16), "memory_mib": rng.choice([128, 1000, 4096])}
            facts |= {"observed_power": Power.RUNNING, "lifecycle": Lifecycle.READY, "service_class": "burstable"}
            new = [VM(name=f"vm-{step}-{number}", **common, **facts) for number in range(MACHINES // 40)]
            with transaction.atomic():
                VM.objects.unscoped("test").bulk_create(new)
            ids += [vm.pk for vm in new]
            for vm in new:
                stories[vm.pk].append((moment, facts))
        those = rng.sample(ids, len(ids) // 5)
        change = rng.choice(
            [
                {"observed_power": Power.STOPPED},
                {"observed_power": Power.RUNNING},
                {"vcpus": rng.randint(1, 16), "memory_mib": rng.choice([256, 999, 8192])},
                {"service_class": rng.choice(["burstable", "guaranteed"])},
                {"lifecycle": rng.choice([Lifecycle.DELETING, Lifecycle.READY])},
            ]
        )
        clock.go(timedelta(seconds=rng.randrange(600)))
        moment = max(moment, clock.now)
        VM.objects.unscoped("test").filter(pk__in=those).update(**change)
        for id in those:
            stories[id].append((moment, {**stories[id][-1][1], **change}))
    return stories


def hours(story: Story) -> dict[tuple[str, str], Fraction]:
    """By meter and class, in March; by nothing but the story."""
    found: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    ends = [moment for moment, _ in story[1:]] + [APRIL]
    for (begin, facts), end in zip(story, ends, strict=True):
        seconds = Fraction((min(end, APRIL) - max(begin, MARCH)) // timedelta(microseconds=1), 10**6)
        if facts["lifecycle"] == Lifecycle.READY and seconds > 0:
            off = "-off" if facts["observed_power"] == Power.STOPPED else ""
            found["vcpu" + off, facts["service_class"]] += facts["vcpus"] * seconds / 3600
            found["memory" + off, facts["service_class"]] += Fraction(facts["memory_mib"], 1024) * seconds / 3600
    return found


def bill(stories: dict[UUID, Story]) -> Iterator[Decimal]:
    """Line by line. Machine by machine in the order of their ids, tiers fill up."""
    used: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for id in sorted(stories):
        for (meter, grade), quantity in sorted(hours(stories[id]).items()):
            key = (meter, grade) if (meter, grade) in PRICES else (meter, "")
            bounds = [Fraction(above) for above, _ in PRICES[key]] + [Fraction(10**12)]
            for (_, price), low, high in zip(PRICES[key], bounds, bounds[1:], strict=False):
                part = max(min(used[key] + quantity, high) - max(used[key], low), 0)
                if part:
                    yield Decimal(round(part * Fraction(price) * 10**10)) / 10**10
            used[key] += quantity


@pytest.mark.django_db
@pytest.mark.parametrize("seed", [1])
def test_the_bill_is_right_to_the_last_digit(world: World, clock: Clock, seed: int) -> None:
    """1,000 machines, and those of the world, which cost nothing in this month: they came after it."""
    clock.now = APRIL + timedelta(days=9)
    VM.objects.unscoped("test").filter(tenant=world.acme).update(lifecycle=Lifecycle.DELETING)
    prices = [
        NewPrice(meter, Decimal(price), grade, Decimal(above))
        for (meter, grade), tiers in PRICES.items()
        for above, price in tiers
    ]
    create_book(actor=SYSTEM, name="Prices", currency="EUR", since=MARCH - timedelta(days=90), prices=prices)
    stories = live(world, clock, random.Random(seed))
    assert len(stories) == MACHINES
    clock.now = APRIL + timedelta(days=10)

    expected = list(bill(stories))
    lines = [line for line in selectors.of_month(world.acme.pk, Month(MARCH)) if line.resource_id in stories]
    assert len(lines) > 2 * MACHINES
    assert [line.cost for line in lines if line.quantity] == expected

    closed = close_period(actor=SYSTEM, tenant=world.acme, month=Month(MARCH))
    assert Decimal(closed.totals["EUR"]) == round(sum(expected, Decimal(0)), 2)
    frozen = Charged.objects.unscoped("test").filter(period=closed, resource_id__in=list(stories))
    assert [line.cost for line in frozen if line.quantity] == expected
