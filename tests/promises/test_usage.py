"""From a host's counters to a history in bounded space."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hosts import usage as of_hosts
from hosts.connections import driver_for
from hosts.driver.memory import MemoryHost
from hosts.driver.types import DomainStats, HostStats
from hosts.metering import Meter, Sample, Used, between
from hosts.models import HostUsage
from hosts.models.usage import MINUTE, QUARTER
from tests.volumes.conftest import Bench
from tests.world import World, forget_machines
from vms import usage
from vms.models import VM, VmUsage

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
MS = 1_000_000


def counted(uuid: UUID, cpu_ms: int, wait_ms: int = 0, read: int = 0) -> DomainStats:
    return DomainStats(uuid, 1, cpu_ms * MS, wait_ms * MS, 64, read, 0, read // 512, 0, 0, 0)


def test_what_was_used_is_the_difference() -> None:
    id = uuid4()
    before = HostStats(500 * MS, 900, (counted(id, 100, 10, read=512),))
    after = HostStats(1500 * MS, 1000, (counted(id, 400, 30, read=1536),))
    sample = between(before, after, NOON, 60_000)
    assert sample.domains[id] == Used(300, 20, 64, 1024, 0, 2)
    assert (sample.host.cpu_ms, sample.host.wait_ms, sample.host.memory_mib, sample.host.read_bytes) == (
        1000,
        20,
        1000,
        1024,
    )


def test_a_guest_that_was_started_in_between_counts_from_nothing() -> None:
    old, new = uuid4(), uuid4()
    sample = between(
        HostStats(0, 0, (counted(old, 900),)), HostStats(0, 0, (counted(old, 50), counted(new, 70))), NOON, 60_000
    )
    assert (sample.domains[old].cpu_ms, sample.domains[new].cpu_ms) == (50, 70)


def test_it_asks_once_in_a_minute(on_able: Bench) -> None:
    driver, meter = driver_for(on_able.world.host), Meter()
    on_able.host.calls.clear()
    assert meter.take(driver, NOON) is None
    assert meter.take(driver, NOON + timedelta(seconds=55)) is None
    sample = meter.take(driver, NOON + timedelta(seconds=61))
    assert sample is not None
    assert sample.at == NOON
    assert on_able.host.calls.count("stats") == 2


def minute(world: World, at: datetime, cpu_ms: int = 6000, names: tuple[str, ...] = ("web",)) -> None:
    used = {world.machines[name].pk: Used(cpu_ms=cpu_ms, memory_mib=100, read_bytes=1) for name in names}
    sample = Sample(at, 60_000, Used(cpu_ms=9000, memory_mib=4000), used)
    of_hosts.record(world.host, sample)
    usage.take_sample(world.host, sample)


def test_as_many_queries_for_one_machine_as_for_all(world: World) -> None:
    counts = []
    for names in (("web",), ("web", "cold", "paused", "busy", "foreign")):
        with CaptureQueriesContext(connection) as queries:
            minute(world, NOON + timedelta(minutes=len(counts)), names=names)
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_the_same_minute_twice_is_one(world: World) -> None:
    minute(world, NOON)
    minute(world, NOON, cpu_ms=1)
    assert VmUsage.objects.get().cpu_ms == 6000


def test_another_machine_of_the_host_that_is_not_ours_is_left_out(world: World) -> None:
    usage.take_sample(world.host, Sample(NOON, 60_000, Used(), {uuid4(): Used()}))
    assert not VmUsage.objects.exists()


def test_quarters_are_the_sums_of_their_minutes(world: World) -> None:
    for number in range(20):
        minute(world, NOON + timedelta(minutes=number), cpu_ms=1000 + number)
    usage.roll_up(NOON + timedelta(minutes=16))
    assert not VmUsage.objects.filter(step=QUARTER).exists(), "its last minute may still come"
    for _ in range(2):
        usage.roll_up(NOON + timedelta(minutes=18))
    found = VmUsage.objects.get(step=QUARTER)
    assert (found.at, found.length_ms, found.memory_mib) == (NOON, 900_000, 100)
    assert found.cpu_ms == sum(range(1000, 1015))
    assert HostUsage.objects.get(step=QUARTER).cpu_ms == 15 * 9000


def test_a_day_of_minutes_and_a_month_of_quarters_are_kept(world: World) -> None:
    for at in (NOON, NOON + timedelta(minutes=30)):
        minute(world, at)
        usage.roll_up(at + timedelta(minutes=20))
    day, month = NOON + timedelta(days=1, minutes=10), NOON + timedelta(days=31, minutes=10)
    usage.roll_up(day)
    assert [row.at for row in VmUsage.objects.filter(step=MINUTE)] == [NOON + timedelta(minutes=30)]
    usage.roll_up(month)
    assert [row.at for row in VmUsage.objects.filter(step=QUARTER)] == [NOON + timedelta(minutes=30)]
    assert HostUsage.objects.count() == 1


def test_a_clock_that_was_set_back_does_no_harm(world: World) -> None:
    for start in (NOON, NOON - timedelta(hours=2)):
        for number in range(15):
            minute(world, start + timedelta(minutes=number))
        usage.roll_up(start + timedelta(minutes=20))
    assert VmUsage.objects.filter(step=QUARTER).count() == 1


def test_what_a_machine_used_goes_with_it(world: World) -> None:
    minute(world, NOON)
    forget_machines(VM.objects.unscoped("test").filter(pk=world.machines["web"].pk))
    assert not VmUsage.objects.exists()


@pytest.fixture
def counting(on_able: Bench) -> Callable[[int], None]:
    web, host = on_able.web, on_able.host

    def count(cpu_ms: int) -> None:
        host.counters[web.pk] = counted(web.pk, cpu_ms)

    return count


def test_from_the_driver_to_the_row(on_able: Bench, counting: Callable[[int], None]) -> None:
    host: MemoryHost = on_able.host
    meter, driver = Meter(), driver_for(on_able.world.host)
    counting(1000)
    meter.take(driver, NOON)
    counting(4000)
    host.cpu_ns = 7000 * MS
    sample = meter.take(driver, NOON + timedelta(minutes=1))
    assert sample is not None
    usage.take_sample(on_able.world.host, sample)
    assert VmUsage.objects.get(vm=on_able.web).cpu_ms == 3000
