"""What an inventory tells, over the host in memory and real QEMU alike."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hosts.driver.types import CdromSpec, DiskFacts, NicSpec, PoolContents, PowerState, Reason
from hosts.driver.xml import outline
from tests.driver.guests import guest, wait_for_echo
from tests.driver.rig import NETWORK, POOL, Rig

MIB = 1 << 20
MAC = "52:54:00:12:34:56"


def test_all_that_there_is(rig: Rig, echo_image: Path) -> None:
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    rig.driver.ensure_overlay(POOL, "disk", "image", 4 * MIB)
    rig.driver.upload(POOL, "seed", b"\0" * MIB, "raw")
    address = rig.cidr.replace(".0/24", ".9")
    rig.driver.ensure_dhcp_host(NETWORK, MAC, address)
    nics = (NicSpec(NETWORK, MAC, address),)
    spec = guest("disk", cdroms=(CdromSpec(POOL, "seed"),), nics=nics, owner="a tenant", vcpus=2)
    rig.driver.define(spec)
    found = rig.other.inventory([POOL], NETWORK)
    (domain,) = found.domains
    assert (domain.uuid, domain.name, domain.power) == (spec.uuid, spec.name, PowerState.STOPPED)
    assert domain.owner == "a tenant"
    assert (domain.vcpus, domain.vcpus_max, domain.memory_mib, domain.memory_max_mib) == (2, 2, 32, 32)
    assert set(domain.disks) == {DiskFacts("vda", POOL, "disk"), DiskFacts("sda", POOL, "seed")}
    assert domain.outline == outline.of_spec(spec)
    assert domain.macs == {MAC}
    contents = found.pools[POOL]
    assert contents is not None
    backing = {volume.name: volume.backing for volume in contents.volumes}
    assert backing == {"image": None, "disk": "image", "seed": None}
    assert contents.unfinished == ()
    assert found.dhcp_hosts == {MAC: address}
    assert domain.running_outline is None
    rig.driver.start(spec.uuid)
    (running,) = rig.other.inventory([POOL], NETWORK).domains
    assert running.running_outline == running.outline == outline.of_spec(spec)


def test_the_definition_is_the_one_of_the_next_start(rig: Rig, echo_image: Path) -> None:
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    spec = guest("image")
    rig.driver.define(spec)
    rig.driver.start(spec.uuid)
    rig.driver.define(replace(spec, vcpus=2, memory_mib=48))
    (domain,) = rig.other.inventory([POOL], NETWORK).domains
    assert (domain.power, domain.vcpus, domain.memory_mib, domain.owner) == (PowerState.RUNNING, 2, 48, None)


def test_why_it_is_off(rig: Rig, echo_image: Path) -> None:
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    spec = guest("image")
    rig.driver.define(spec)

    def reason() -> Reason:
        (domain,) = rig.other.inventory([POOL], NETWORK).domains
        return domain.reason

    assert reason() is Reason.UNKNOWN
    rig.driver.start(spec.uuid)
    assert reason() is Reason.NONE
    rig.driver.suspend(spec.uuid)
    assert reason() is Reason.ASKED
    rig.driver.destroy(spec.uuid)
    assert reason() is Reason.DESTROYED
    rig.driver.start(spec.uuid)
    with rig.driver.open_serial(spec.uuid) as serial:
        wait_for_echo(serial)
    rig.driver.shutdown(spec.uuid)
    rig.driver.wait_for(spec.uuid, [PowerState.STOPPED], 15)
    assert reason() is Reason.GUEST


def test_an_upload_that_has_not_ended(rig: Rig) -> None:
    seen = []

    def look(fraction: float) -> None:
        seen.append(rig.other.inventory([POOL], NETWORK))

    rig.driver.upload(POOL, "image", b"x" * MIB, "raw", look)
    assert [inventory.pools[POOL] for inventory in seen] == [PoolContents((), ("image",))]
    assert rig.other.inventory([POOL], NETWORK).pools[POOL].unfinished == ()


def test_what_is_not_there_is_not_an_empty_one(rig: Rig) -> None:
    found = rig.driver.inventory(["nowhere"], "nowhere")
    assert (found.domains, found.pools, found.dhcp_hosts) == ((), {"nowhere": None}, None)


def test_what_was_changed_behind_the_daemon_is_seen(kvm_rig: Rig, virsh: Callable[..., str]) -> None:
    made = kvm_rig.driver.upload(POOL, "seed", b"x" * MIB, "raw")
    spec = guest("seed", vcpus=2)
    kvm_rig.driver.define(replace(spec, disks=()))
    Path(made.path).unlink()
    virsh("setvcpus", str(spec.uuid), "1", "--config")
    virsh("setmem", str(spec.uuid), "16M", "--config")
    found = kvm_rig.other.inventory([POOL], NETWORK)
    assert found.pools[POOL].volumes == ()
    (domain,) = found.domains
    assert (domain.vcpus, domain.vcpus_max, domain.memory_mib, domain.memory_max_mib) == (1, 2, 16, 32)


def test_what_was_given_to_the_running_guest_alone(kvm_rig: Rig, virsh: Callable[..., str], echo_image: Path) -> None:
    kvm_rig.driver.upload(POOL, "image", echo_image, "qcow2")
    given = kvm_rig.driver.upload(POOL, "given", b"x" * MIB, "raw")
    spec = guest("image")
    kvm_rig.driver.define(spec)
    kvm_rig.driver.start(spec.uuid)
    virsh("attach-disk", str(spec.uuid), given.path, "vdb", "--live")
    (domain,) = kvm_rig.other.inventory([POOL], NETWORK).domains
    assert domain.outline == outline.of_spec(spec)
    assert domain.running_outline is not None
    assert domain.running_outline - domain.outline == {f"disk vdb {given.name} of {POOL} as raw"}


def test_a_pool_that_is_off(kvm_rig: Rig, virsh: Callable[..., str]) -> None:
    virsh("pool-destroy", POOL)
    assert kvm_rig.driver.inventory([POOL], NETWORK).pools[POOL] is None
    virsh("pool-start", POOL)
    assert kvm_rig.driver.inventory([POOL], NETWORK).pools[POOL].volumes == ()


@pytest.fixture
def virsh(kvm_rig: Rig) -> Callable[..., str]:
    """As an administrator by hand."""

    def run(*arguments: str) -> str:
        return subprocess.run(
            ["virsh", "-q", "-c", kvm_rig.uri, *arguments], check=True, capture_output=True, text=True, timeout=60
        ).stdout

    return run
