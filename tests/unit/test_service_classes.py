"""What a class comes to on a host, and which hosts can keep it."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from decimal import Decimal

import pytest

from hosts import service_class
from hosts.driver.types import UNTUNED, Controls, Tuning
from hosts.models import Cluster, Host
from hosts.service_class import Promise, ServiceClass
from vms.design import tuning

FIRST, SECOND = Controls(1024, 500, True, True), Controls(100, 100, True, True)
DEDICATED, GUARANTEED, BURSTABLE, BEST_EFFORT = (Promise(each, 2, 2048) for each in ServiceClass)


def host(controls: Controls = FIRST, **more: object) -> Host:
    values = {"cpus": 8, "memory_mib": 16384, "accelerator": "kvm", "cluster": Cluster(), **more}
    return Host(controls=asdict(controls), **values)


@pytest.mark.parametrize(
    ("promise", "tuned"),
    [
        (DEDICATED, Tuning(20480, io_weight=1000, memory_limit_mib=3072, is_memory_locked=True)),
        (GUARANTEED, Tuning(10240, io_weight=1000, memory_limit_mib=3072, is_memory_locked=True)),
        (BURSTABLE, Tuning(2457)),  # one eighth of a CPU is 12 %
        (replace(BURSTABLE, cpu_floor=25, cpu_ceiling=50), Tuning(5120, 100_000, 50_000)),
        (BEST_EFFORT, Tuning(40, io_weight=100)),
    ],
)
def test_each_class(promise: Promise, tuned: Tuning) -> None:
    assert tuning(promise, host()) == tuned


def test_weights_are_in_the_scale_of_the_host() -> None:
    tuned = Tuning(1000, io_weight=1000, memory_limit_mib=3072, is_memory_locked=True)
    assert tuning(GUARANTEED, host(SECOND)) == tuned


def test_where_guests_weigh_too_little_for_a_fifth_of_it_all_weigh_more() -> None:
    """libvirt's schema takes 100 to 1000."""
    weights = [tuning(each, host(SECOND)).io_weight for each in (GUARANTEED, BURSTABLE, BEST_EFFORT)]
    assert weights == [1000, 500, 100]


def test_a_vcpu_with_the_floor_of_one_weighs_as_much_as_a_machine_from_before() -> None:
    assert tuning(Promise(ServiceClass.BURSTABLE, 1, 64, cpu_floor=10), host()).shares == 1024


def test_weights_are_as_floors() -> None:
    light, heavy = (tuning(Promise(ServiceClass.BURSTABLE, 1, 64, cpu_floor=floor), host()) for floor in (25, 75))
    assert light.shares is not None
    assert heavy.shares == 3 * light.shares


def test_a_host_without_control_groups_is_told_nothing() -> None:
    assert tuning(BURSTABLE, host(Controls())) == UNTUNED
    assert service_class.floor_on(BURSTABLE, host(Controls())) is None


def test_cpus_of_their_own() -> None:
    kept = host(dedicated_cpus=2)
    assert list(kept.cpus_of_their_own) == [6, 7]
    assert tuning(DEDICATED, kept, (6, 7)).pins == (6, 7)
    assert tuning(BURSTABLE, kept).cpus == (0, 1, 2, 3, 4, 5)
    assert tuning(BURSTABLE, host()).cpus == ()


@pytest.mark.parametrize(
    ("promise", "at", "words"),
    [
        (GUARANTEED, host(Controls()), "cannot weigh"),
        (replace(BURSTABLE, cpu_floor=20), host(Controls()), "cannot weigh"),
        (replace(BURSTABLE, cpu_ceiling=20), host(Controls(1024)), "ceiling"),
        (DEDICATED, host(), "keeps none"),
        (DEDICATED, host(dedicated_cpus=1), "keeps only 1"),
        (replace(GUARANTEED, has_huge_pages=True), host(), "set aside none"),
        (replace(GUARANTEED, has_huge_pages=True), host(huge_pages_mib=1024), "set aside 1024 MiB"),
        (replace(GUARANTEED, vcpus=32), host(SECOND), "can tell apart"),
    ],
)
def test_what_a_host_cannot_is_said_before_a_start(promise: Promise, at: Host, words: str) -> None:
    assert words in service_class.why_not(promise, at)


@pytest.mark.parametrize("promise", [GUARANTEED, BURSTABLE, BEST_EFFORT, replace(BURSTABLE, cpu_ceiling=50)])
def test_what_it_can(promise: Promise) -> None:
    assert service_class.why_not(promise, host()) == ""


@pytest.mark.parametrize(("ratio", "floor"), [(8, 12), (1, 100), (Decimal("0.5"), 100), (64, 1), (1000, 1)])
def test_a_burstable_floor_follows_from_the_ratio(ratio: Decimal, floor: int) -> None:
    assert service_class.floor_by_ratio(float(ratio)) == floor


def test_the_ratio_of_a_class_is_policy_of_the_cluster() -> None:
    """It is held by floors, of which a host never promises more than it has."""
    strict = host(cluster=Cluster(class_ratios={"burstable": 4.0, "best-effort": 20.0}))
    assert service_class.floor_on(BURSTABLE, strict) == 25
    assert service_class.floor_on(BEST_EFFORT, strict) == 5
    assert service_class.floor_on(GUARANTEED, strict) == 50
    low = replace(BURSTABLE, cpu_floor=10)
    assert service_class.floor_on(low, strict) == 25
    assert service_class.floor_on(replace(low, is_made=True), strict) == 10
    assert service_class.floor_on(replace(BURSTABLE, cpu_floor=40), strict) == 40


def test_a_host_that_cannot_weigh_guests_cannot_hold_a_ratio() -> None:
    strict = host(Controls(), cluster=Cluster(class_ratios={"burstable": 4.0}))
    assert "cannot weigh" in service_class.why_not(BURSTABLE, strict)
    assert service_class.why_not(replace(BURSTABLE, is_made=True), strict) == ""
    assert service_class.why_not(BEST_EFFORT, strict) == ""


def test_what_is_claimed() -> None:
    assert service_class.amounts(BURSTABLE, 12) == {"cpu_floor": 24}
    assert service_class.amounts(GUARANTEED, 50) == {"cpu_floor": 100, "reserved_mib": 2048}
    assert service_class.amounts(DEDICATED, 100, (6, 7)) == {"cpu:6": 1, "cpu:7": 1, "reserved_mib": 2048}
    assert service_class.amounts(BEST_EFFORT, 0) == {}
    assert service_class.amounts(BURSTABLE, None) == {}


def test_a_tuning_is_kept_as_what_differs_from_none() -> None:
    assert all(field.default == getattr(UNTUNED, field.name) for field in fields(Tuning))
