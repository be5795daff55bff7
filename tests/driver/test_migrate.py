"""Migration between two hosts, in memory and on real QEMU: a domain runs once, whoever dies on the way."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest

from hosts.driver import errors, memory
from hosts.driver.base import Driver
from hosts.driver.types import CdromSpec, DiskSpec, DomainSpec, Journey, MigrationFacts, NicSpec, PowerState
from hosts.driver.xml import outline
from tests.driver.conftest import CANDIDATES
from tests.driver.guests import guest, wait_for_echo
from tests.driver.rig import NETWORK, POOL, prepared
from tests.driver.test_kvm import wait_until
from tests.lab.fixtures import Lab, LabHost

SHARED = "berth-shared"
MIB = 1 << 20
MAC = "52:54:00:00:00:01"


@dataclass(frozen=True)
class Pair:
    """Two hosts with a pool each, and one that both see; `target_uri` is how the source's daemon reaches the target."""

    source: Driver
    target: Driver
    target_uri: str
    hosts: tuple[LabHost, ...] = ()

    def journey(self, **more: object) -> Journey:
        return Journey(self.target_uri, **more)  # type: ignore[arg-type]

    def begin(self, spec: DomainSpec, journey: Journey) -> MigrationFacts:
        return self.source.migrate(spec, journey, lambda: self.prepare(spec, journey))

    def prepare(self, spec: DomainSpec, journey: Journey) -> None:
        for disk in spec.disks:
            if disk.target in journey.copied:
                self.target.ensure_volume(disk.pool, disk.volume, 64 * MIB)

    def to_the_end(self, spec: DomainSpec, journey: Journey, seconds: float = 240) -> MigrationFacts:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with suppress(errors.Timeout, errors.Unreachable):  # where a daemon is started anew
                if (facts := self.begin(spec, journey)).is_complete:
                    return facts
            time.sleep(0.2)
        raise AssertionError("it did not end")

    def running_on(self) -> list[str]:
        drivers = {"source": self.source, "target": self.target}
        on = (PowerState.RUNNING, PowerState.PAUSED)
        return [name for name, driver in drivers.items() if any(each.power in on for each in driver.list_domains())]


@pytest.fixture
def memory_pair(tmp_path: Path) -> Pair:
    rigs = [prepared(f"memory://{uuid4()}", CANDIDATES, tmp_path / POOL, tmp_path) for _ in range(2)]
    hosts = [memory.host(rig.uri) for rig in rigs]
    for rig in rigs:
        rig.driver.ensure_pool(SHARED, tmp_path / SHARED)
    hosts[1].volumes = hosts[0].volumes
    return Pair(rigs[0].driver, rigs[1].driver, rigs[1].uri)


@pytest.fixture
def kvm_pair() -> Iterator[Pair]:
    lab = Lab()
    try:
        hosts = lab.up(2)
        drivers = []
        for host in hosts:
            rig = prepared(host.tcp_uri, CANDIDATES, host.directory / "pool", host.directory)
            rig.driver.ensure_pool(SHARED, lab.directory / "shared" / "pool")
            drivers.append(rig.driver)
        yield Pair(drivers[0], drivers[1], hosts[1].tcp_uri, tuple(hosts))
    finally:
        lab.down()


@pytest.fixture(params=["memory", "kvm"])
def pair(request: pytest.FixtureRequest) -> Pair:
    found: Pair = request.getfixturevalue(f"{request.param}_pair")
    return found


@pytest.fixture
def machine(pair: Pair, echo_image: Path) -> DomainSpec:
    """Runs on the source, with a disk on the storage that both see, one of the source's own, a CD and an interface."""
    return made(pair, echo_image)


def made(pair: Pair, echo_image: Path) -> DomainSpec:
    for pool in (POOL, SHARED):
        pair.source.upload(pool, "image", echo_image, "qcow2")
    pair.source.ensure_overlay(SHARED, "disk", "image", 64 * MIB)
    pair.source.ensure_overlay(POOL, "own", "image", 64 * MIB)
    for driver in (pair.source, pair.target):
        driver.upload(POOL, "seed", b"seed".ljust(512), "raw")
    pair.target.refresh_pool(SHARED)
    spec = guest(
        disks=(DiskSpec(SHARED, "disk", "vda"), DiskSpec(POOL, "own", "vdb")),
        cdroms=(CdromSpec(POOL, "seed"),),
        nics=(NicSpec(NETWORK, MAC, "10.143.7.9"),),
        attempt=3,
    )
    pair.source.define(spec)
    pair.source.start(spec.uuid)
    return spec


def there(machine: DomainSpec, attempt: int = 4) -> DomainSpec:
    return replace(machine, attempt=attempt, disks=(machine.disks[0], DiskSpec(POOL, "copy", "vdb")))


def test_it_goes_on_at_the_other_host_with_the_data_of_its_own_disk(pair: Pair, machine: DomainSpec) -> None:
    wanted, journey = there(machine), pair.journey(copied=("vdb",))
    assert pair.begin(wanted, journey).has_begun
    assert pair.to_the_end(wanted, journey).error == ""
    wait_until(lambda: pair.source.state(machine.uuid) is None)
    state = pair.target.state(machine.uuid)
    assert state is not None
    assert (state.power, state.persistent) == (PowerState.RUNNING, True)
    (domain,) = pair.target.inventory([POOL], NETWORK).domains
    assert domain.outline == outline.of_spec(wanted)
    cost = pair.target.arrival(machine.uuid)
    assert cost is not None
    assert 0 <= cost.downtime_ms <= cost.total_ms


def test_one_that_is_off_goes_without_being_let_run(pair: Pair, machine: DomainSpec) -> None:
    pair.source.destroy(machine.uuid)
    wanted, journey = there(machine), pair.journey(copied=("vdb",), is_off=True)
    pair.to_the_end(wanted, journey)
    wait_until(lambda: pair.source.state(machine.uuid) is None)
    state = pair.target.state(machine.uuid)
    assert state is not None
    assert state.power is not PowerState.RUNNING
    pair.target.destroy(machine.uuid)
    assert pair.running_on() == []


def test_what_should_run_and_is_off_does_not_go(pair: Pair, machine: DomainSpec) -> None:
    pair.source.destroy(machine.uuid)
    with pytest.raises(errors.InvalidState):
        pair.begin(there(machine), pair.journey(copied=("vdb",)))


def test_what_should_be_off_and_runs_does_not_go(pair: Pair, machine: DomainSpec) -> None:
    with pytest.raises(errors.InvalidState):
        pair.begin(there(machine), pair.journey(copied=("vdb",), is_off=True))
    assert pair.running_on() == ["source"]


def test_one_that_is_ended_stays(pair: Pair, machine: DomainSpec) -> None:
    journey = pair.journey(copied=("vdb",), mib_per_second=1)
    pair.begin(there(machine), journey)
    wait_until(lambda: pair.source.end_migration(machine.uuid))  # not at once where QEMU takes its time
    settle(pair, machine)
    assert pair.running_on() == ["source"]


def settle(pair: Pair, machine: DomainSpec) -> None:
    for _ in range(100):
        try:
            return pair.source.stay(machine.uuid)
        except (errors.Busy, errors.Timeout, errors.Unreachable):
            time.sleep(0.2)
    raise AssertionError("it does not come to an end")


def test_staying_without_having_gone_changes_nothing(pair: Pair, machine: DomainSpec) -> None:
    pair.source.stay(machine.uuid)
    assert pair.source.end_migration(machine.uuid)
    assert pair.running_on() == ["source"]
    pair.source.stay(uuid4())


def test_what_came_by_no_migration_has_cost_nothing(pair: Pair, machine: DomainSpec) -> None:
    assert pair.source.arrival(machine.uuid) is None


# -- on real QEMU alone -------------------------------------------------------------------------------------------


@pytest.fixture
def slow(kvm_pair: Pair, echo_image: Path) -> tuple[DomainSpec, Journey]:
    """Under way for many seconds: 48 MiB of data at 1 MiB a second."""
    machine = made(kvm_pair, echo_image)
    kvm_pair.source.destroy(machine.uuid)
    path = kvm_pair.hosts[0].directory / "pool" / "own"
    subprocess.run(["qemu-io", "-c", "write -P 77 8M 48M", path], check=True, stdout=subprocess.DEVNULL)
    kvm_pair.source.start(machine.uuid)
    return there(machine), kvm_pair.journey(copied=("vdb",), mib_per_second=1)


def test_every_byte_arrives_also_over_what_an_earlier_copy_has_left(
    kvm_pair: Pair, slow: tuple[DomainSpec, Journey]
) -> None:
    wanted, journey = slow
    kvm_pair.target.ensure_volume(POOL, "copy", 64 * MIB)
    paths = [kvm_pair.hosts[0].directory / "pool" / "own", kvm_pair.hosts[1].directory / "pool" / "copy"]
    subprocess.run(["qemu-io", "-c", "write -P 99 2M 60M", paths[1]], check=True, stdout=subprocess.DEVNULL)
    kvm_pair.to_the_end(wanted, replace(journey, mib_per_second=0))
    with kvm_pair.target.open_serial(wanted.uuid) as serial:
        wait_for_echo(serial, 60)
    kvm_pair.target.destroy(wanted.uuid)
    subprocess.run(["qemu-img", "compare", *paths], check=True, stdout=subprocess.DEVNULL)


def test_it_goes_on_without_whoever_asked_for_it(kvm_pair: Pair, slow: tuple[DomainSpec, Journey]) -> None:
    wanted, journey = slow
    code = (
        "import sys, pickle; from hosts.driver import open_driver; uri, work = pickle.load(sys.stdin.buffer); "
        "open_driver(uri).migrate(*work, lambda: None); print('begun', flush=True); sys.stdin.read()"
    )
    kvm_pair.prepare(wanted, journey)
    asker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert asker.stdin is not None
    assert asker.stdout is not None
    asker.stdin.write(pickle.dumps((kvm_pair.hosts[0].tcp_uri, (wanted, journey))))
    asker.stdin.flush()
    assert asker.stdout.readline() == b"begun\n"
    asker.kill()
    asker.wait()

    def is_under_way() -> bool:
        facts = kvm_pair.begin(wanted, journey)
        assert not facts.has_begun
        return facts.total_bytes > 0

    wait_until(is_under_way)
    kvm_pair.to_the_end(wanted, journey)
    assert kvm_pair.running_on() == ["target"]


@pytest.mark.parametrize("victim", ["source", "target"])
def test_a_daemon_that_dies_leaves_it_where_it_was(
    kvm_pair: Pair, slow: tuple[DomainSpec, Journey], victim: str
) -> None:
    wanted, journey = slow
    kvm_pair.begin(wanted, journey)
    host = kvm_pair.hosts[victim == "target"]
    pid = host.libvirtd_pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}/exe").exists())
    host.start_libvirtd()
    assert kvm_pair.to_the_end(wanted, journey).is_complete
    settle(kvm_pair, wanted)
    state = kvm_pair.source.state(wanted.uuid)
    assert state is not None
    assert state.power is PowerState.RUNNING
    left = kvm_pair.target.state(wanted.uuid)
    assert left is None or not left.persistent


def test_a_target_that_loses_power_leaves_it_where_it_was(kvm_pair: Pair, slow: tuple[DomainSpec, Journey]) -> None:
    wanted, journey = slow
    kvm_pair.begin(wanted, journey)
    kvm_pair.hosts[1].kill()
    kvm_pair.to_the_end(wanted, journey)
    settle(kvm_pair, wanted)
    state = kvm_pair.source.state(wanted.uuid)
    assert state is not None
    assert state.power is PowerState.RUNNING
