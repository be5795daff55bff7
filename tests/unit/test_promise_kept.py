"""When a promise counts as kept, at risk or broken."""

from __future__ import annotations

import pytest

from hosts.service_class import Promise, ServiceClass
from vms.promise_kept import Kept, Measured, measured, verdict

MINUTE = 60_000


def judged(kind: ServiceClass, cpu: int, wait: int, floor: int | None, vcpus: int = 1, **more: int) -> Kept:
    """`cpu` and `wait` in percent of a minute of one CPU."""
    promise = Promise(kind, vcpus, 64, cpu_floor=floor, **more)
    return verdict(measured(promise, MINUTE, cpu * 600, wait * 600), floor)


@pytest.mark.parametrize(
    ("cpu", "wait", "floor", "kept"),
    [
        (0, 0, 50, Kept.KEPT),
        (100, 0, 50, Kept.KEPT),
        (80, 20, 50, Kept.KEPT),  # it waits, and gets far more than was promised
        (55, 45, 50, Kept.AT_RISK),  # with a little more load it would get less
        (25, 75, 25, Kept.AT_RISK),
        (75, 25, 75, Kept.AT_RISK),
        (20, 80, 25, Kept.BROKEN),
        (10, 90, 50, Kept.BROKEN),
        (10, 1, 50, Kept.KEPT),  # it wants little, and waits for a moment now and then
        (24, 76, 25, Kept.AT_RISK),
        (10, 0, 50, Kept.KEPT),
    ],
)
def test_a_floor(cpu: int, wait: int, floor: int, kept: Kept) -> None:
    assert judged(ServiceClass.GUARANTEED, cpu, wait, floor) is kept


def test_the_floor_is_of_each_vcpu() -> None:
    assert judged(ServiceClass.GUARANTEED, 100, 100, 50, vcpus=2) is Kept.AT_RISK
    assert judged(ServiceClass.GUARANTEED, 60, 140, 50, vcpus=2) is Kept.BROKEN


def test_dedicated_machines_hardly_wait() -> None:
    assert judged(ServiceClass.DEDICATED, 97, 3, 100) is Kept.AT_RISK
    assert judged(ServiceClass.DEDICATED, 90, 10, 100) is Kept.BROKEN
    assert judged(ServiceClass.DEDICATED, 99, 1, 100) is Kept.KEPT


def test_waiting_that_its_own_ceiling_makes_is_none() -> None:
    assert judged(ServiceClass.BURSTABLE, 50, 50, 50, cpu_ceiling=50) is Kept.KEPT
    assert judged(ServiceClass.BURSTABLE, 30, 70, 50, cpu_ceiling=50) is Kept.BROKEN


@pytest.mark.parametrize("floor", [0, None])
def test_without_a_floor_nothing_can_be_broken(floor: int | None) -> None:
    assert judged(ServiceClass.BEST_EFFORT, 1, 99, floor) is Kept.NOTHING


def test_an_idle_guest_that_waits_for_its_few_wake_ups_is_fine() -> None:
    assert verdict(measured(Promise(ServiceClass.GUARANTEED, 1, 64, cpu_floor=50), MINUTE, 40, 60), 50) is Kept.KEPT


def test_nothing_measured_is_nothing_said() -> None:
    assert verdict(Measured(), 50) is Kept.UNKNOWN


def test_a_minute_in_an_hour_does_not_break_it_and_four_do() -> None:
    hour = 60 * MINUTE
    assert verdict(Measured(hour, broken_ms=MINUTE), 50) is Kept.KEPT
    assert verdict(Measured(hour, broken_ms=MINUTE, risk_ms=3 * MINUTE), 50) is Kept.AT_RISK
    assert verdict(Measured(hour, broken_ms=4 * MINUTE), 50) is Kept.BROKEN
