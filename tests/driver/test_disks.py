"""Disks of running domains, over the host in memory and real QEMU alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from hosts.driver import errors
from hosts.driver.types import DiskLimits, DiskSpec, DomainFacts, DomainSpec, PoolKind, PoolSpec
from hosts.driver.xml import outline
from tests.driver.guests import guest
from tests.driver.rig import NETWORK, POOL, Rig

MIB = 1 << 20
DATA = DiskSpec(POOL, "data", "vdb", serial="018f000000000000000a")
LIMITS = DiskLimits(read_iops=100, write_bytes=MIB)


@pytest.fixture
def machine(rig: Rig, echo_image: Path) -> DomainSpec:
    """Running, with an empty volume beside it. Its guest never lets go of a disk."""
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    rig.driver.ensure_overlay(POOL, "disk", "image", 4 * MIB)
    rig.driver.ensure_volume(POOL, "data", 8 * MIB)
    spec = guest("disk")
    rig.driver.define(spec)
    rig.driver.start(spec.uuid)
    return spec


def facts(rig: Rig, spec: DomainSpec) -> DomainFacts:
    return next(domain for domain in rig.other.inventory([POOL], NETWORK).domains if domain.uuid == spec.uuid)


def test_an_empty_volume_is_made_once(rig: Rig) -> None:
    for capacity in (8 * MIB, 9 * MIB):
        made = rig.driver.ensure_volume(POOL, "data", capacity)
        assert (made.name, made.format, made.capacity_bytes, made.backing) == ("data", "qcow2", 8 * MIB, None)


def test_an_overlay_is_no_empty_volume(rig: Rig, echo_image: Path) -> None:
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    rig.driver.ensure_overlay(POOL, "disk", "image", 4 * MIB)
    with pytest.raises(errors.AlreadyExists):
        rig.driver.ensure_volume(POOL, "disk", 4 * MIB)


def test_attached_it_is_as_a_definition_with_it_says(rig: Rig, machine: DomainSpec) -> None:
    wanted = replace(machine, disks=(*machine.disks, replace(DATA, limits=LIMITS)))
    for _ in range(2):
        rig.driver.attach_disk(machine.uuid, wanted.disks[1])
        rig.driver.define(wanted)
    found = facts(rig, machine)
    assert found.outline == found.running_outline == outline.of_spec(wanted)


def test_attaching_to_one_that_is_off_has_no_effect(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.destroy(machine.uuid)
    rig.driver.attach_disk(machine.uuid, DATA)
    assert facts(rig, machine).outline == outline.of_spec(machine)


def test_a_target_has_one_disk(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.attach_disk(machine.uuid, DATA)
    rig.driver.ensure_volume(POOL, "more", MIB)
    with pytest.raises(errors.AlreadyExists):
        rig.driver.attach_disk(machine.uuid, replace(DATA, volume="more"))


def test_a_volume_is_one_guests(rig: Rig, machine: DomainSpec, echo_image: Path) -> None:
    rig.driver.ensure_overlay(POOL, "disk-2", "image", 4 * MIB)
    other = guest("disk-2")
    rig.driver.define(other)
    rig.driver.start(other.uuid)
    rig.driver.attach_disk(machine.uuid, DATA)
    with pytest.raises(errors.Busy):
        rig.driver.attach_disk(other.uuid, DATA)
    assert facts(rig, other).running_outline == outline.of_spec(other)


def test_what_is_not_there_is_detached(rig: Rig, machine: DomainSpec) -> None:
    assert rig.driver.detach_disk(machine.uuid, DATA)
    rig.driver.destroy(machine.uuid)
    assert rig.driver.detach_disk(machine.uuid, DATA)


def test_another_volume_at_its_target_stays(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.attach_disk(machine.uuid, DATA)
    assert rig.driver.detach_disk(machine.uuid, replace(DATA, volume="more"))
    assert any("vdb" in words for words in facts(rig, machine).running_outline or ())


def test_a_guest_that_does_not_listen_keeps_it(request: pytest.FixtureRequest, rig: Rig, machine: DomainSpec) -> None:
    if rig.uri.startswith("memory:"):
        rig.driver.host.deaf.add(machine.uuid)  # type: ignore[attr-defined]
    rig.driver.attach_disk(machine.uuid, DATA)
    for _ in range(2):
        assert not rig.driver.detach_disk(machine.uuid, DATA)
    assert any("vdb" in words for words in facts(rig, machine).running_outline or ())


def test_it_grows_under_the_guest(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.attach_disk(machine.uuid, DATA)
    for wanted, there in ((12 * MIB, 12 * MIB), (12 * MIB, 12 * MIB), (10 * MIB, 12 * MIB)):
        rig.driver.grow_disk(machine.uuid, DATA, wanted)
        found = {volume.name: volume for volume in rig.other.list_volumes(POOL)}
        assert found["data"].capacity_bytes == there
    root = machine.disks[0]
    rig.driver.grow_disk(machine.uuid, root, 16 * MIB)
    found = {volume.name: volume for volume in rig.other.list_volumes(POOL)}
    assert found["disk"].capacity_bytes == 16 * MIB


def test_one_that_is_off_does_not_grow_under_a_guest(rig: Rig, machine: DomainSpec) -> None:
    with pytest.raises(errors.InvalidState):
        rig.driver.grow_disk(machine.uuid, DATA, 12 * MIB)
    rig.driver.destroy(machine.uuid)
    with pytest.raises(errors.InvalidState):
        rig.driver.grow_disk(machine.uuid, machine.disks[0], 12 * MIB)


def test_limits_hold_at_once_and_can_go(rig: Rig, machine: DomainSpec) -> None:
    for limits in (LIMITS, DiskLimits(2, 3, 4096, 8192), DiskLimits()):
        rig.driver.limit_disk(machine.uuid, "vda", limits)
        wanted = replace(machine, disks=(replace(machine.disks[0], limits=limits),))
        assert facts(rig, machine).running_outline == outline.of_spec(wanted)
    rig.driver.limit_disk(machine.uuid, "vdz", LIMITS)
    rig.driver.destroy(machine.uuid)
    rig.driver.limit_disk(machine.uuid, "vda", LIMITS)


CALLS: list[Callable[[Rig], object]] = [
    lambda rig: rig.driver.attach_disk(uuid4(), DATA),
    lambda rig: rig.driver.detach_disk(uuid4(), DATA),
    lambda rig: rig.driver.grow_disk(uuid4(), DATA, MIB),
    lambda rig: rig.driver.limit_disk(uuid4(), "vda", LIMITS),
    lambda rig: rig.driver.end_move(uuid4(), DATA),
    lambda rig: rig.driver.move_disk(guest("data"), "vda"),
]


@pytest.mark.parametrize("call", CALLS)
def test_without_the_domain(rig: Rig, call: Callable[[Rig], object]) -> None:
    rig.driver.ensure_volume(POOL, "data", MIB)
    with pytest.raises(errors.NotFound):
        call(rig)


# -- pools -------------------------------------------------------------------------------------------------------


def test_a_directory_pool_by_its_spec(rig: Rig) -> None:
    spec = PoolSpec("berth-fast", PoolKind.DIR, f"{rig.directory}/fast")
    try:
        for _ in range(2):
            made = rig.driver.define_pool(spec)
            assert (made.name, made.path, made.active) == ("berth-fast", spec.path, True)
            assert made.capacity_bytes >= made.available_bytes > 0
        with pytest.raises(errors.AlreadyExists):
            rig.driver.define_pool(replace(spec, path=f"{rig.directory}/elsewhere"))
    finally:
        rig.driver.delete_pool("berth-fast")


@pytest.mark.parametrize(
    "spec",
    [
        PoolSpec("p", PoolKind.NETFS, "/var/tmp/berth-nowhere", "/export", ("127.0.0.1",)),
        PoolSpec("p", PoolKind.LOGICAL, "/dev/berth-no-such-group", "berth-no-such-group"),
        PoolSpec("p", PoolKind.RBD, source="vms", hosts=("127.0.0.1",)),
    ],
    ids=lambda spec: spec.kind,
)
def test_what_a_host_lacks_for_a_pool_is_told(rig: Rig, spec: PoolSpec) -> None:
    with pytest.raises(errors.DriverError):
        rig.driver.define_pool(spec)
    rig.driver.delete_pool("p")
    assert all(pool.name != "p" for pool in rig.driver.facts().pools)


# -- copies and moves between pools ------------------------------------------------------------------------------

FAST = "berth-fast"


@pytest.fixture
def fast(rig: Rig) -> str:
    rig.driver.define_pool(PoolSpec(FAST, PoolKind.DIR, f"{rig.directory}/fast"))
    rig.directory.chmod(0o755)
    yield FAST
    for domain in rig.driver.list_domains():
        rig.driver.destroy(domain.uuid)
    for volume in rig.driver.list_volumes(FAST):
        rig.driver.delete_volume(FAST, volume.name)
    rig.driver.delete_pool(FAST)


def test_a_copy_into_another_pool(rig: Rig, machine: DomainSpec, fast: str) -> None:
    job = uuid4()
    while not rig.driver.copy_volume(job, 1, POOL, "data", "copy", into=fast).is_complete:
        pass
    assert [volume.name for volume in rig.driver.list_volumes(fast)] == ["copy"]
    assert rig.driver.volume(POOL, "copy") is None


def moved(machine: DomainSpec, pool: str) -> DomainSpec:
    return replace(machine, disks=(replace(machine.disks[0], pool=pool, volume="new"),))


def test_a_running_domain_moves(rig: Rig, machine: DomainSpec, fast: str) -> None:
    wanted = moved(machine, fast)
    assert not rig.driver.move_disk(wanted, "vda").is_complete
    assert rig.driver.volume(fast, "new") is None or rig.uri.startswith("memory:")
    while not (copy := rig.driver.move_disk(wanted, "vda")).is_complete:
        pass
    assert copy.done_bytes == copy.total_bytes == 4 * MIB
    assert rig.driver.move_disk(wanted, "vda").is_complete
    found = facts(rig, machine)
    assert found.outline == found.running_outline == outline.of_spec(wanted)
    assert found.power == "running"
    made = rig.driver.volume(fast, "new")
    assert made is not None
    assert made.backing is None
    assert rig.driver.end_move(machine.uuid, wanted.disks[0])


def test_a_move_that_is_ended_leaves_nothing(rig: Rig, machine: DomainSpec, fast: str) -> None:
    wanted = moved(machine, fast)
    rig.driver.move_disk(wanted, "vda")
    for _ in range(2):
        assert not rig.driver.end_move(machine.uuid, wanted.disks[0])
    found = facts(rig, machine)
    assert found.outline == found.running_outline == outline.of_spec(machine)
    assert rig.driver.list_volumes(fast) == []


def test_what_does_not_run_is_not_moved_so(rig: Rig, machine: DomainSpec, fast: str) -> None:
    rig.driver.destroy(machine.uuid)
    with pytest.raises(errors.InvalidState):
        rig.driver.move_disk(moved(machine, fast), "vda")
    assert not rig.driver.end_move(machine.uuid, moved(machine, fast).disks[0])
