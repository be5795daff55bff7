"""Points in time and merges: what every driver keeps, over the host in memory and real QEMU alike."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from hosts.driver import errors
from hosts.driver.types import DiskSpec, DomainSpec, FreshLayer, Merge, PowerState
from tests.driver.guests import guest
from tests.driver.rig import NETWORK, POOL, Rig

MIB = 1 << 20


def overlay(rig: Rig, name: str, backing: str, mib: int = 4) -> None:
    rig.driver.ensure_overlay(POOL, name, backing, mib * MIB)


@pytest.fixture
def machine(rig: Rig, echo_image: Path) -> DomainSpec:
    """Runs on "base" and has a second disk, "data"."""
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    overlay(rig, "base", "image")
    overlay(rig, "data", "image")
    spec = guest(disks=(DiskSpec(POOL, "base", "vda"), DiskSpec(POOL, "data", "vdb")))
    rig.driver.define(spec)
    rig.driver.start(spec.uuid)
    return spec


def disks_of(rig: Rig, uuid: UUID) -> dict[str, str]:
    domain = next(domain for domain in rig.other.inventory([POOL], NETWORK).domains if domain.uuid == uuid)
    return {disk.target: disk.volume for disk in domain.disks}


def backing(rig: Rig, name: str) -> str | None:
    contents = rig.other.inventory([POOL], NETWORK).pools[POOL]
    assert contents is not None
    return next(volume.backing for volume in contents.volumes if volume.name == name)


def frozen(rig: Rig, machine: DomainSpec, below: str, fresh: str, mib: int = 4) -> None:
    overlay(rig, fresh, below, mib)
    rig.driver.freeze(machine.uuid, [FreshLayer("vda", POOL, fresh)])


def merged(rig: Rig, merge: Merge) -> str:
    job = uuid4()
    for _ in range(200):
        facts = rig.driver.merge(job, merge, may_switch=True)
        if facts.kept is not None:
            return facts.kept
        time.sleep(0.05)
    raise AssertionError("not merged")


def power(rig: Rig, machine: DomainSpec) -> PowerState:
    state = rig.other.state(machine.uuid)
    assert state is not None
    return state.power


# -- freeze ------------------------------------------------------------------------------------------------------


def test_all_disks_are_frozen_at_once_and_twice_is_once(rig: Rig, machine: DomainSpec) -> None:
    overlay(rig, "base-2", "base")
    overlay(rig, "data-2", "data")
    layers = [FreshLayer("vda", POOL, "base-2"), FreshLayer("vdb", POOL, "data-2")]
    for _ in range(2):
        assert rig.driver.freeze(machine.uuid, layers, quiesce=True) is False  # nobody answers as its agent
        assert disks_of(rig, machine.uuid) == {"vda": "base-2", "vdb": "data-2"}
        assert power(rig, machine) is PowerState.RUNNING


def test_a_paused_guest_is_frozen_and_stays_paused(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.suspend(machine.uuid)
    frozen(rig, machine, "base", "base-2")
    assert disks_of(rig, machine.uuid)["vda"] == "base-2"
    assert power(rig, machine) is PowerState.PAUSED


def test_what_is_off_is_not_frozen(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.destroy(machine.uuid)
    with pytest.raises(errors.InvalidState):
        frozen(rig, machine, "base", "base-2")
    with pytest.raises(errors.NotFound):
        rig.driver.freeze(uuid4(), [FreshLayer("vda", POOL, "base-2")])


def test_all_or_none(rig: Rig, machine: DomainSpec) -> None:
    overlay(rig, "base-2", "base")
    for other in (FreshLayer("vdb", POOL, "nowhere"), FreshLayer("vdz", POOL, "base-2")):
        with pytest.raises(errors.DriverError):
            rig.driver.freeze(machine.uuid, [FreshLayer("vda", POOL, "base-2"), other])
        assert disks_of(rig, machine.uuid) == {"vda": "base", "vdb": "data"}


def test_memory_is_kept_and_restored(rig: Rig, machine: DomainSpec) -> None:
    overlay(rig, "base-2", "base")
    overlay(rig, "data-2", "data")
    layers = [FreshLayer("vda", POOL, "base-2"), FreshLayer("vdb", POOL, "data-2")]
    rig.driver.upload(POOL, "memory", b"", "raw")
    seen: list[float] = []
    rig.driver.freeze(machine.uuid, layers, memory="memory", progress=seen.append)
    kept = rig.driver.volume(POOL, "memory")
    assert kept is not None
    assert kept.allocation_bytes > 0
    assert power(rig, machine) is PowerState.RUNNING
    rig.driver.destroy(machine.uuid)
    overlay(rig, "base-3", "base")
    overlay(rig, "data-3", "data")
    disks = (DiskSpec(POOL, "base-3", "vda"), DiskSpec(POOL, "data-3", "vdb"))
    again = guest(uuid=machine.uuid, name=machine.name, disks=disks)
    rig.driver.define(again)
    for _ in range(2):
        rig.driver.restore(machine.uuid, POOL, "memory")
        assert power(rig, machine) is PowerState.RUNNING
        assert disks_of(rig, machine.uuid) == {"vda": "base-3", "vdb": "data-3"}


def test_memory_with_disks_that_were_plugged_in_and_out_is_restored(rig: Rig, machine: DomainSpec) -> None:
    """A definition gives devices other places than a guest that runs has for them."""
    vda, vdb = machine.disks
    more = replace(vda, volume="more", target="vdc")
    last = replace(vda, volume="last", target="vdd")
    for disk in (more, last):
        rig.driver.ensure_volume(POOL, disk.volume, MIB)
        rig.driver.attach_disk(machine.uuid, disk)
    layers = [FreshLayer(disk.target, POOL, f"{disk.volume}-2") for disk in (vda, vdb, more, last)]
    for layer in layers:
        overlay(rig, layer.volume, layer.volume.removesuffix("-2"))
    rig.driver.upload(POOL, "memory", b"", "raw")
    rig.driver.freeze(machine.uuid, layers, memory="memory")
    for number in (3, 4):  # the second time from what was restored already
        rig.driver.destroy(machine.uuid)
        fresh = [replace(disk, volume=f"{disk.volume}-{number}") for disk in (vda, vdb, more, last)]
        for disk in fresh:
            overlay(rig, disk.volume, disk.volume.removesuffix(f"-{number}"))
        rig.driver.define(replace(machine, disks=tuple(fresh)))
        rig.driver.restore(machine.uuid, POOL, "memory")
        assert power(rig, machine) is PowerState.RUNNING
        assert disks_of(rig, machine.uuid) == {disk.target: disk.volume for disk in fresh}


def test_memory_of_another_size_is_refused(rig: Rig, machine: DomainSpec) -> None:
    overlay(rig, "base-2", "base")
    rig.driver.upload(POOL, "memory", b"", "raw")
    rig.driver.freeze(machine.uuid, [FreshLayer("vda", POOL, "base-2")], memory="memory")
    rig.driver.destroy(machine.uuid)
    disks = (DiskSpec(POOL, "base-2", "vda"), DiskSpec(POOL, "data", "vdb"))
    rig.driver.define(guest(uuid=machine.uuid, name=machine.name, disks=disks, vcpus=2))
    with pytest.raises((errors.Unsupported, errors.Invalid)):
        rig.driver.restore(machine.uuid, POOL, "memory")
    assert power(rig, machine) is PowerState.STOPPED


# -- merge -------------------------------------------------------------------------------------------------------


def of(machine: DomainSpec, layer: str, child: str, *heirs: str, **more: object) -> Merge:
    return Merge(POOL, layer, child, machine.uuid, "vda", heirs, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_running", [True, False])
@pytest.mark.parametrize("keep", ["base", "base-2", None])
def test_the_top_is_merged(rig: Rig, machine: DomainSpec, keep: str | None, is_running: bool) -> None:
    frozen(rig, machine, "base", "base-2")
    if not is_running:
        rig.driver.destroy(machine.uuid)
    kept = merged(rig, of(machine, "base", "base-2", keep=keep, is_to_run=is_running))
    assert kept in ("base", "base-2")
    assert keep in (kept, None)
    assert backing(rig, kept) == "image"
    if is_running:
        assert power(rig, machine) is PowerState.RUNNING
        assert disks_of(rig, machine.uuid)["vda"] == kept
    rig.driver.delete_volume(POOL, "base" if kept == "base-2" else "base-2")
    assert merged(rig, of(machine, "base", "base-2", keep=keep, is_to_run=is_running)) == kept
    assert len(rig.driver.list_domains()) == 1


@pytest.mark.parametrize("is_running", [True, False])
def test_a_layer_in_the_middle_is_merged(rig: Rig, machine: DomainSpec, is_running: bool) -> None:
    frozen(rig, machine, "base", "two")
    frozen(rig, machine, "two", "three", 8)
    frozen(rig, machine, "three", "four", 8)
    if not is_running:
        rig.driver.destroy(machine.uuid)
    kept = merged(rig, of(machine, "two", "three", "four", is_to_run=is_running))
    assert backing(rig, kept) == "base"
    assert backing(rig, "four") == kept
    volume = rig.driver.volume(POOL, kept)
    assert volume is not None
    assert volume.capacity_bytes == 8 * MIB
    assert disks_of(rig, machine.uuid)["vda"] == "four"
    if is_running:
        assert power(rig, machine) is PowerState.RUNNING


def test_below_several_only_the_child_stays(rig: Rig, machine: DomainSpec) -> None:
    frozen(rig, machine, "base", "two")
    frozen(rig, machine, "two", "three")
    overlay(rig, "clone", "two")
    merge = of(machine, "base", "two", "three", "clone")
    with pytest.raises(errors.InvalidState):  # it runs on one of both
        rig.driver.merge(uuid4(), merge, may_switch=True)
    rig.driver.destroy(machine.uuid)
    assert merged(rig, merge) == "two"
    assert {backing(rig, "three"), backing(rig, "clone")} == {"two"}
    assert backing(rig, "two") == "image"


def test_a_guest_is_switched_only_when_told(rig: Rig, machine: DomainSpec) -> None:
    frozen(rig, machine, "base", "base-2")
    job, merge = uuid4(), of(machine, "base", "base-2", keep="base", is_to_run=True)
    assert rig.driver.merge(job, merge, may_switch=False).has_begun
    for _ in range(100):
        facts = rig.driver.merge(job, merge, may_switch=False)
        if facts.is_ready:
            break
        time.sleep(0.05)
    assert facts.is_ready
    assert facts.kept is None
    assert disks_of(rig, machine.uuid)["vda"] == "base-2"
    assert rig.driver.merge(job, merge, may_switch=True).kept == "base"
    assert disks_of(rig, machine.uuid)["vda"] == "base"
    assert power(rig, machine) is PowerState.RUNNING


@pytest.mark.parametrize("is_running", [True, False])
def test_a_merge_that_is_ended_leaves_both(rig: Rig, machine: DomainSpec, is_running: bool) -> None:
    frozen(rig, machine, "base", "base-2")
    if not is_running:
        rig.driver.destroy(machine.uuid)
    job, merge = uuid4(), of(machine, "base", "base-2", keep="base", is_to_run=is_running)
    assert rig.driver.end_merge(job, merge, may_switch=False) is None
    rig.driver.merge(job, merge, may_switch=False)
    assert rig.driver.end_merge(job, merge, may_switch=False) is None
    assert rig.driver.end_merge(job, merge, may_switch=False) is None
    assert backing(rig, "base-2") == "base"
    assert disks_of(rig, machine.uuid)["vda"] == "base-2"
    assert [domain.uuid for domain in rig.driver.list_domains()] == [machine.uuid]
    assert merged(rig, merge) in ("base", "base-2")


@pytest.mark.parametrize("is_running", [True, False])
@pytest.mark.parametrize("keep", ["base", "base-2"])
def test_a_merge_that_was_done_when_it_is_ended_says_so(
    rig: Rig, machine: DomainSpec, is_running: bool, keep: str
) -> None:
    frozen(rig, machine, "base", "base-2")
    merge = of(machine, "base", "base-2", keep=keep, is_to_run=is_running)
    assert merged(rig, merge) == keep
    if not is_running:
        rig.driver.destroy(machine.uuid)
    assert rig.driver.end_merge(uuid4(), merge, may_switch=True) == keep
    assert disks_of(rig, machine.uuid)["vda"] == keep


def test_a_paused_guest_stays_paused(rig: Rig, machine: DomainSpec) -> None:
    frozen(rig, machine, "base", "base-2")
    rig.driver.suspend(machine.uuid)
    assert merged(rig, of(machine, "base", "base-2", keep="base")) == "base"
    assert power(rig, machine) is PowerState.PAUSED
