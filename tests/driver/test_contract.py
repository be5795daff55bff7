"""What every driver keeps, over the host in memory and real QEMU alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from queue import SimpleQueue
from uuid import UUID, uuid4

import pytest

from hosts.driver import errors
from hosts.driver.types import Accelerator, CdromSpec, DomainEvent, DomainSpec, NicSpec, PowerState, Tuning
from tests.driver.conftest import CANDIDATES
from tests.driver.guests import guest, read, wait_for_echo
from tests.driver.rig import NETWORK, POOL, Rig

MIB = 1 << 20
MAC = "52:54:00:12:34:56"


@pytest.fixture
def machine(rig: Rig, echo_image: Path) -> DomainSpec:
    """Defined, off, with an overlay on an image, a seed and a filtered NIC, as the portal makes them."""
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    rig.driver.ensure_overlay(POOL, "disk", "image", 4 * MIB)
    rig.driver.upload(POOL, "seed", b"\0" * MIB, "raw")
    ip = str(IPv4Network(rig.cidr)[9])
    rig.driver.ensure_dhcp_host(NETWORK, MAC, ip)
    spec = guest(
        "disk", cdroms=(CdromSpec(POOL, "seed"),), nics=(NicSpec(NETWORK, MAC, ip),), tuning=Tuning(shares=512)
    )
    rig.driver.define(spec)
    return spec


def power(rig: Rig, spec: DomainSpec) -> PowerState | None:
    state = rig.other.state(spec.uuid)
    return state.power if state else None


# -- domains -----------------------------------------------------------------------------------------------------


def test_a_life(rig: Rig, machine: DomainSpec) -> None:
    driver, uuid = rig.driver, machine.uuid
    assert power(rig, machine) is PowerState.STOPPED
    driver.start(uuid)
    assert power(rig, machine) is PowerState.RUNNING
    driver.start(uuid)
    driver.suspend(uuid)
    assert power(rig, machine) is PowerState.PAUSED
    driver.start(uuid)
    assert power(rig, machine) is PowerState.PAUSED
    driver.resume(uuid)
    driver.resume(uuid)
    assert power(rig, machine) is PowerState.RUNNING
    driver.destroy(uuid)
    driver.destroy(uuid)
    assert power(rig, machine) is PowerState.STOPPED
    driver.undefine(uuid)
    driver.undefine(uuid)
    assert power(rig, machine) is None
    assert driver.list_domains() == []


def test_serial_echo_and_shutdown_by_the_guest(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.start(machine.uuid)
    with rig.driver.open_serial(machine.uuid) as serial:
        wait_for_echo(serial)
        serial.sendall(b"0123456789")
        assert read(serial, 10) == b"0123456789"
    rig.driver.shutdown(machine.uuid)
    assert rig.driver.wait_for(machine.uuid, [PowerState.STOPPED], 15) is PowerState.STOPPED
    rig.driver.shutdown(machine.uuid)


def test_display_greets(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.start(machine.uuid)
    with rig.driver.open_display(machine.uuid) as display:
        assert read(display, 12) == b"RFB 003.008\n"


def test_reboot_of_a_running_guest_is_taken(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.start(machine.uuid)
    rig.driver.reboot(machine.uuid)
    assert power(rig, machine) is PowerState.RUNNING


def test_wait_for_tells_when_it_is_not_so_in_time(rig: Rig, machine: DomainSpec) -> None:
    begun = time.monotonic()
    with pytest.raises(errors.Timeout):
        rig.driver.wait_for(machine.uuid, [PowerState.RUNNING], 0.5)
    assert 0.4 < time.monotonic() - begun < 3


@pytest.mark.parametrize("method", ["suspend", "resume", "reboot", "open_serial", "open_display"])
def test_what_needs_a_running_domain(rig: Rig, machine: DomainSpec, method: str) -> None:
    with pytest.raises(errors.InvalidState):
        getattr(rig.driver, method)(machine.uuid)


@pytest.mark.parametrize("method", ["start", "shutdown", "suspend", "resume", "reboot", "open_serial", "open_display"])
def test_what_needs_a_domain(rig: Rig, method: str) -> None:
    with pytest.raises(errors.NotFound):
        getattr(rig.driver, method)(uuid4())


def test_what_needs_no_domain(rig: Rig) -> None:
    rig.driver.destroy(uuid4())
    rig.driver.undefine(uuid4())
    assert rig.driver.state(uuid4()) is None
    with pytest.raises(errors.NotFound):
        rig.driver.wait_for(uuid4(), [PowerState.STOPPED], 1)


def test_defining_again_changes_it(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.define(replace(machine, memory_mib=48, title="<b>&amp; \u0007new\nlines\u2028"))
    assert [domain.uuid for domain in rig.driver.list_domains()] == [machine.uuid]


def test_a_name_belongs_to_one_uuid(rig: Rig, machine: DomainSpec) -> None:
    with pytest.raises(errors.AlreadyExists):
        rig.driver.define(replace(machine, uuid=uuid4()))


def test_start_without_its_disk(rig: Rig) -> None:
    spec = guest("nowhere")
    rig.driver.define(spec)
    with pytest.raises(errors.NotFound):
        rig.driver.start(spec.uuid)
    assert power(rig, spec) is PowerState.STOPPED


# -- events ------------------------------------------------------------------------------------------------------


def next_event(events: SimpleQueue[DomainEvent], is_it: Callable[[DomainEvent], bool]) -> DomainEvent:
    while not is_it(event := events.get(timeout=5)):
        pass
    return event


def test_watch_sees_what_another_connection_does(rig: Rig, machine: DomainSpec) -> None:
    events: SimpleQueue[DomainEvent] = SimpleQueue()
    stop = rig.driver.watch(events.put, lambda: None)
    rig.other.start(machine.uuid)
    rig.other.suspend(machine.uuid)
    rig.other.resume(machine.uuid)
    rig.other.destroy(machine.uuid)
    rig.other.define(machine)
    rig.other.undefine(machine.uuid)
    seen = [next_event(events, lambda e, r=reason: e.reason == r) for reason in ("started", "suspended", "resumed")]
    seen += [next_event(events, lambda e, r=reason: e.reason == r) for reason in ("destroyed", "defined", "undefined")]
    running, paused, stopped = PowerState.RUNNING, PowerState.PAUSED, PowerState.STOPPED
    powers = [event.power for event in seen]
    assert powers[:4] == [running, paused, running, stopped]
    assert powers[4] in (stopped, None)  # asked when the event is delivered, and the domain may be gone by then
    assert powers[5] is None
    assert {event.uuid for event in seen} == {machine.uuid}
    assert all(event.at.tzinfo for event in seen)
    stop()
    stop()
    rig.other.define(machine)
    time.sleep(0.3)
    assert events.empty()


# -- volumes -----------------------------------------------------------------------------------------------------


def test_upload_tells_progress_and_replaces(rig: Rig) -> None:
    told: list[float] = []
    made = rig.driver.upload(POOL, "seed.iso", b"x" * (2 * MIB + 5), "raw", told.append)
    assert told == sorted(told)
    assert len(told) == 3
    assert told[-1] == 1.0
    assert (made.name, made.format, made.capacity_bytes, made.backing) == ("seed.iso", "raw", 2 * MIB + 5, None)
    assert rig.driver.upload(POOL, "seed.iso", b"y" * 512, "raw").capacity_bytes == 512
    assert [volume.name for volume in rig.other.list_volumes(POOL)] == ["seed.iso"]


def test_a_whole_volume_stays_where_others_may_stand_on_it(rig: Rig, echo_image: bytes) -> None:
    made = rig.driver.upload(POOL, "image", echo_image, "qcow2", replace=False)
    with pytest.raises(errors.Busy):
        rig.driver.upload(POOL, "image", echo_image, "qcow2", replace=False)
    assert rig.driver.volume(POOL, "image") == made


def test_upload_of_a_qcow2_file_has_its_virtual_size(rig: Rig, echo_image: Path) -> None:
    made = rig.driver.upload(POOL, "image", echo_image, "qcow2")
    assert (made.format, made.capacity_bytes) == ("qcow2", MIB)
    assert rig.other.volume(POOL, "image") == made


def test_an_upload_that_is_stopped_leaves_nothing(rig: Rig) -> None:
    class StopIt(Exception):
        pass

    def stop(fraction: float) -> None:
        assert rig.other.volume(POOL, "image") is None
        assert rig.other.list_volumes(POOL) == []
        raise StopIt

    with pytest.raises(StopIt):
        rig.driver.upload(POOL, "image", b"x" * 3 * MIB, "raw", stop)
    assert rig.driver.volume(POOL, "image") is None


def test_an_upload_is_what_it_is_said_to_be(rig: Rig) -> None:
    with pytest.raises(errors.Invalid):
        rig.driver.upload(POOL, "image", b"no qcow2" * 1000, "qcow2")
    assert rig.driver.volume(POOL, "image") is None


def test_overlay(rig: Rig, echo_image: Path) -> None:
    with pytest.raises(errors.NotFound):
        rig.driver.ensure_overlay(POOL, "disk", "image", 8 * MIB)
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    rig.driver.upload(POOL, "image2", echo_image, "qcow2")
    made = rig.driver.ensure_overlay(POOL, "disk", "image", 8 * MIB)
    assert (made.format, made.capacity_bytes, made.backing) == ("qcow2", 8 * MIB, "image")
    assert rig.other.ensure_overlay(POOL, "disk", "image", 8 * MIB).path == made.path
    with pytest.raises(errors.AlreadyExists):
        rig.driver.ensure_overlay(POOL, "disk", "image2", 8 * MIB)


def copied(rig: Rig, job: UUID, source: str, name: str) -> list[int]:
    """How many bytes were done at each look, until it was complete."""
    seen = []
    for _ in range(300):
        facts = rig.driver.copy_volume(job, 1, POOL, source, name)
        seen.append(facts.done_bytes)
        if facts.is_complete:
            assert facts.done_bytes == facts.total_bytes
            return seen
        assert rig.other.volume(POOL, name) is None
        assert name not in [volume.name for volume in rig.other.list_volumes(POOL)]
        time.sleep(0.05)
    raise AssertionError(f"not copied: {seen}")


def test_a_copy_stands_on_nothing(rig: Rig, echo_image: Path) -> None:
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    rig.driver.ensure_overlay(POOL, "disk", "image", 8 * MIB)
    job = uuid4()
    assert copied(rig, job, "disk", "copy")[-1] == 8 * MIB
    facts = rig.driver.volume(POOL, "copy")
    assert facts is not None
    assert (facts.format, facts.capacity_bytes, facts.backing) == ("qcow2", 8 * MIB, None)
    assert copied(rig, job, "disk", "copy") == [8 * MIB]  # again: it is there
    assert rig.driver.list_domains() == []
    rig.driver.delete_volume(POOL, "disk")
    rig.driver.delete_volume(POOL, "image")
    spec = guest("copy")
    rig.driver.define(spec)
    rig.driver.start(spec.uuid)


def test_a_copy_that_is_ended_is_no_volume(rig: Rig, echo_image: Path) -> None:
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    job = uuid4()
    rig.driver.end_copy(job)
    assert not rig.driver.copy_volume(job, 1, POOL, "image", "copy").is_complete
    rig.driver.end_copy(job)
    rig.driver.end_copy(job)
    assert rig.driver.volume(POOL, "copy") is None
    assert rig.driver.list_domains() == []
    assert rig.driver.inventory([POOL], NETWORK).pools[POOL].unfinished == ("copy",)
    assert copied(rig, job, "image", "copy")
    rig.driver.delete_volume(POOL, "copy")
    assert rig.driver.volume(POOL, "copy") is None


def test_something_else_of_its_name_is_no_copy(rig: Rig, echo_image: Path) -> None:
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    rig.driver.ensure_overlay(POOL, "disk", "image", 8 * MIB)
    rig.driver.upload(POOL, "copy", echo_image, "qcow2")
    with pytest.raises(errors.AlreadyExists):
        rig.driver.copy_volume(uuid4(), 1, POOL, "disk", "copy")


def test_a_copy_of_what_is_not_there(rig: Rig) -> None:
    with pytest.raises(errors.NotFound):
        rig.driver.copy_volume(uuid4(), 1, POOL, "none", "copy")
    assert rig.driver.inventory([POOL], NETWORK).pools[POOL].unfinished == ()


def test_a_volume_grows_and_never_shrinks(rig: Rig, echo_image: Path) -> None:
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    for wanted, there in ((4, 4), (4, 4), (2, 4), (8, 8)):
        rig.driver.grow_volume(POOL, "image", wanted * MIB)
        volume = rig.other.volume(POOL, "image")
        assert volume is not None
        assert volume.capacity_bytes == there * MIB
    with pytest.raises(errors.NotFound):
        rig.driver.grow_volume(POOL, "nothing", MIB)


def test_delete_a_volume_of_a_pool_that_is_not_there(rig: Rig) -> None:
    """Its data may be back with the pool."""
    with pytest.raises(errors.NotFound):
        rig.driver.delete_volume("nowhere", "disk")


def test_delete_volume_twice(rig: Rig) -> None:
    rig.driver.upload(POOL, "seed", b"x" * 512, "raw")
    rig.driver.delete_volume(POOL, "seed")
    rig.driver.delete_volume(POOL, "seed")
    assert rig.driver.list_volumes(POOL) == []


def test_no_such_pool(rig: Rig) -> None:
    for call in (
        lambda: rig.driver.list_volumes("nowhere"),
        lambda: rig.driver.volume("nowhere", "x"),
        lambda: rig.driver.upload("nowhere", "x", b"x", "raw"),
        lambda: rig.driver.ensure_overlay("nowhere", "x", "y", MIB),
        lambda: rig.driver.probe_accelerator(Accelerator.TCG, "nowhere", 1),
    ):
        with pytest.raises(errors.NotFound):
            call()


# -- the host ----------------------------------------------------------------------------------------------------


def test_facts(rig: Rig) -> None:
    facts = rig.driver.facts()
    assert facts.hostname
    assert facts.cpus > 0
    assert facts.memory_mib > 0
    assert facts.libvirt_version.count(".") == facts.qemu_version.count(".") == 2
    assert Accelerator.TCG in facts.accelerators
    assert [(pool.name, pool.active) for pool in facts.pools] == [(POOL, True)]
    assert facts.pools[0].capacity_bytes >= facts.pools[0].available_bytes > 0


def test_emulation_runs_a_guest_and_leaves_nothing(rig: Rig) -> None:
    verdict = rig.driver.probe_accelerator(Accelerator.TCG, POOL, 30)
    assert (verdict.accelerator, verdict.usable, verdict.detail) == (Accelerator.TCG, True, "")
    assert rig.other.list_domains() == []
    assert rig.other.list_volumes(POOL) == []


def test_pool_is_ensured_and_keeps_its_path(rig: Rig) -> None:
    there = rig.driver.facts().pools[0]
    assert rig.other.ensure_pool(POOL, Path(there.path)).path == there.path
    with pytest.raises(errors.AlreadyExists):
        rig.driver.ensure_pool(POOL, Path(there.path) / "elsewhere")
    rig.driver.delete_pool(POOL)
    rig.driver.delete_pool(POOL)
    assert rig.driver.facts().pools == ()
    rig.driver.ensure_pool(POOL, Path(there.path))


# -- networks ----------------------------------------------------------------------------------------------------


def test_network_takes_the_first_free_subnet_and_keeps_it(rig: Rig) -> None:
    assert rig.cidr == CANDIDATES[0]
    assert rig.other.ensure_network(NETWORK, ["10.143.200.0/24"]) == rig.cidr
    second = "another-network-with-a-long-name"
    wide = "10.143.0.0/20"  # overlaps the first one's
    with pytest.raises(errors.Unsupported):
        rig.driver.ensure_network(second, [rig.cidr, wide])
    try:
        assert rig.driver.ensure_network(second, [rig.cidr, wide, CANDIDATES[1]]) == CANDIDATES[1]
    finally:
        rig.driver.delete_network(second)
        rig.driver.delete_network(second)


def test_an_older_attempt_defines_nothing(rig: Rig) -> None:
    spec = guest("older", disks=())
    rig.driver.define(replace(spec, attempt=7))
    rig.driver.define(replace(spec, attempt=7, vcpus=1))
    with pytest.raises(errors.Superseded):
        rig.other.define(replace(spec, attempt=6))
    rig.driver.define(replace(spec, attempt=8))
    rig.driver.undefine(spec.uuid)
    rig.driver.define(replace(spec, attempt=1))
    rig.driver.undefine(spec.uuid)


def reserved(rig: Rig) -> dict[str, str]:
    return dict(rig.driver.inventory([POOL], NETWORK).dhcp_hosts or {})


def test_dhcp_hosts(rig: Rig) -> None:
    first, second = (str(IPv4Network(rig.cidr)[number]) for number in (20, 21))
    other_mac = "52:54:00:65:43:21"
    rig.driver.ensure_dhcp_host(NETWORK, MAC.upper(), first)
    rig.other.ensure_dhcp_host(NETWORK, MAC, first)
    rig.driver.ensure_dhcp_host(NETWORK, other_mac, first)
    assert reserved(rig) == {other_mac: first}, "an address has one MAC"
    rig.driver.ensure_dhcp_host(NETWORK, MAC, second)
    rig.driver.ensure_dhcp_host(NETWORK, MAC, first)
    assert reserved(rig) == {MAC: first}
    rig.driver.delete_dhcp_host(NETWORK, MAC)
    rig.driver.delete_dhcp_host(NETWORK, MAC)
    assert reserved(rig) == {}
    assert rig.driver.leases(NETWORK) == []


def test_no_such_network(rig: Rig) -> None:
    rig.driver.delete_dhcp_host("nowhere", MAC)
    with pytest.raises(errors.NotFound):
        rig.driver.ensure_dhcp_host("nowhere", MAC, "10.0.0.1")
    with pytest.raises(errors.NotFound):
        rig.driver.leases("nowhere")
