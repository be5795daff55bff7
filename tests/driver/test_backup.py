"""Backups over the host in memory and real QEMU alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from hosts.driver import errors
from hosts.driver.types import (
    BackupDiskSpec,
    BackupFacts,
    BackupSpec,
    CdromSpec,
    Consistency,
    CopyFacts,
    DomainSpec,
    PowerState,
)
from tests.driver.guests import guest
from tests.driver.rig import NETWORK, POOL, Rig

MIB = 1 << 20
TARGET = "backups"


@pytest.fixture
def machine(rig: Rig, echo_image: Path) -> DomainSpec:
    """Defined and off, with a seed, as the portal makes them; and a pool for backups."""
    rig.driver.ensure_pool(TARGET, rig.directory / "backups" if rig.uri.startswith("memory") else backups_of(rig))
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    rig.driver.ensure_overlay(POOL, "disk", "image", 32 * MIB)
    rig.driver.upload(POOL, "seed", b"\0" * MIB, "raw")
    spec = guest("disk", cdroms=(CdromSpec(POOL, "seed"),))
    rig.driver.define(spec)
    yield spec
    rig.driver.destroy(spec.uuid)
    for volume in rig.driver.list_volumes(TARGET):
        rig.driver.delete_volume(TARGET, volume.name)
    rig.driver.delete_pool(TARGET)


def backups_of(rig: Rig) -> Path:
    """A directory that the host sees too."""
    return Path(next(pool.path for pool in rig.driver.facts().pools if pool.name == POOL)).with_name("backups")


def full(name: str, *, is_off: bool = False) -> BackupSpec:
    return BackupSpec(TARGET, (BackupDiskSpec("vda", name),), checkpoint=f"of-{name}", is_off=is_off)


def changes(name: str, parent: str, *, is_off: bool = False) -> BackupSpec:
    return BackupSpec(TARGET, (BackupDiskSpec("vda", name, parent),), f"of-{name}", f"of-{parent}", is_off=is_off)


def to_the_end(ask: Callable[[], BackupFacts]) -> BackupFacts:
    for _ in range(600):
        facts = ask()
        if facts.is_complete:
            return facts
        time.sleep(0.05)
    raise AssertionError("not backed up")


def back_up(rig: Rig, machine: DomainSpec, spec: BackupSpec) -> BackupFacts:
    return to_the_end(lambda: rig.driver.back_up(machine.uuid, spec))


def names(rig: Rig) -> list[str]:
    return sorted(volume.name for volume in rig.driver.list_volumes(TARGET))


def test_a_full_one_of_a_running_guest_and_then_its_changes(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.start(machine.uuid)
    begun = rig.driver.back_up(machine.uuid, full("one"))
    assert not begun.is_complete
    assert begun.consistency is Consistency.CRASH
    assert names(rig) == []
    done = back_up(rig, machine, full("one"))
    assert (done.consistency, done.counts_changes) == (Consistency.CRASH, True)
    assert done.total_bytes == 32 * MIB  # however late one looks
    assert rig.driver.checkpoints(machine.uuid) == {"of-one"}
    back_up(rig, machine, changes("two", "one"))
    assert names(rig) == ["one", "two"]
    two = rig.driver.volume(TARGET, "two")
    assert two is not None
    assert two.backing == "one"
    assert two.capacity_bytes == 32 * MIB
    assert rig.driver.checkpoints(machine.uuid) == {"of-two"}
    assert back_up(rig, machine, changes("two", "one")).is_complete
    state = rig.driver.state(machine.uuid)
    assert state is not None
    assert state.power is PowerState.RUNNING


def test_one_that_is_off_stays_off(rig: Rig, machine: DomainSpec) -> None:
    for spec in (full("one", is_off=True), changes("two", "one", is_off=True)):
        assert back_up(rig, machine, spec).consistency is Consistency.OFF
        state = rig.driver.state(machine.uuid)
        assert state is not None
        assert state.power is PowerState.STOPPED
    rig.driver.start(machine.uuid)
    assert back_up(rig, machine, changes("three", "two")).consistency is Consistency.CRASH


def test_what_must_run_is_not_started(rig: Rig, machine: DomainSpec) -> None:
    with pytest.raises(errors.DriverError):
        rig.driver.back_up(machine.uuid, full("one"))
    assert names(rig) == []
    assert rig.driver.inventory([TARGET], NETWORK).pools[TARGET].unfinished == ()


def test_changes_since_what_nobody_knows(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.start(machine.uuid)
    back_up(rig, machine, full("one"))
    lost = BackupSpec(TARGET, (BackupDiskSpec("vda", "two", "one"),), "of-two", since="of-another")
    with pytest.raises(errors.CheckpointLost):
        rig.driver.back_up(machine.uuid, lost)
    assert names(rig) == ["one"]
    assert rig.driver.checkpoints(machine.uuid) == {"of-one"}


def test_stopping_one_leaves_what_was_before(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.start(machine.uuid)
    back_up(rig, machine, full("one"))
    rig.driver.back_up(machine.uuid, changes("two", "one"))
    rig.driver.end_backup(machine.uuid, changes("two", "one"))
    rig.driver.end_backup(machine.uuid, changes("two", "one"))
    assert names(rig) == ["one"]
    assert rig.driver.inventory([TARGET], NETWORK).pools[TARGET].unfinished == ()
    assert rig.driver.checkpoints(machine.uuid) == {"of-one"}
    back_up(rig, machine, changes("three", "one"))


def test_stopping_one_of_a_machine_that_is_off_powers_it_off(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.back_up(machine.uuid, full("one", is_off=True))
    rig.driver.end_backup(machine.uuid, full("one", is_off=True))
    state = rig.driver.state(machine.uuid)
    assert state is not None
    assert state.power is PowerState.STOPPED
    assert names(rig) == []


def test_two_at_once(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.start(machine.uuid)
    rig.driver.back_up(machine.uuid, full("one"))
    with suppress(errors.Busy):  # unless the first has ended by then
        rig.driver.back_up(machine.uuid, full("two"))
        back_up(rig, machine, full("two"))
    back_up(rig, machine, full("one"))
    assert "one" in names(rig)


def test_checkpoints_of_others_are_kept(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.start(machine.uuid)
    back_up(rig, machine, full("one"))
    back_up(rig, machine, BackupSpec(TARGET, (BackupDiskSpec("vda", "two"),), "of-two", keep=("of-one",)))
    assert rig.driver.checkpoints(machine.uuid) == {"of-one", "of-two"}
    back_up(rig, machine, changes("three", "one"))
    assert rig.driver.checkpoints(machine.uuid) == {"of-three"}


def test_what_is_known_of_no_domain(rig: Rig, machine: DomainSpec) -> None:
    assert rig.driver.checkpoints(uuid4()) == frozenset()
    rig.driver.thaw(uuid4())
    rig.driver.thaw(machine.uuid)
    rig.driver.end_backup(uuid4(), full("one"))
    with pytest.raises(errors.NotFound):
        rig.driver.back_up(uuid4(), full("one"))


def test_absorb(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.start(machine.uuid)
    back_up(rig, machine, full("one"))
    back_up(rig, machine, changes("two", "one"))
    back_up(rig, machine, changes("three", "two"))
    for base in ("one", ""):
        absorbed(rig, "three", base)
        three = rig.driver.volume(TARGET, "three")
        assert three is not None
        assert three.backing == (base or None)
    assert len(rig.driver.list_domains()) == 1


def absorbed(rig: Rig, name: str, base: str) -> None:
    job = uuid4()

    def ask() -> CopyFacts:
        return rig.driver.absorb(job, TARGET, name, base)

    for _ in range(300):
        if ask().is_complete:
            return
        time.sleep(0.05)
    raise AssertionError("not absorbed")


def test_absorbing_that_is_stopped_leaves_it_whole(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.start(machine.uuid)
    back_up(rig, machine, full("one"))
    back_up(rig, machine, changes("two", "one"))
    job = uuid4()
    rig.driver.absorb(job, TARGET, "two", "")
    rig.driver.end_absorb(job)
    rig.driver.end_absorb(job)
    two = rig.driver.volume(TARGET, "two")
    assert two is not None
    assert two.backing in ("one", None)
    absorbed(rig, "two", "")
