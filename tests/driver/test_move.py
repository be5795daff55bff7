"""Moving the disk of a running domain on real QEMU: every byte arrives, whoever dies on the way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hosts.driver import errors
from hosts.driver.kvm import move
from hosts.driver.types import DiskSpec, DomainSpec, PowerState
from hosts.driver.xml import outline
from tests.console import Console
from tests.driver.guests import guest, qcow2, wait_for_echo
from tests.driver.rig import NETWORK, POOL, Rig
from tests.driver.test_kvm import small_pool, wait_until
from tests.lab.fixtures import LabHost
from tests.tiny import tiny_image

__all__ = ["tiny_image"]

MIB = 1 << 20
FAST = "berth-fast"


@pytest.fixture
def rig(kvm_rig: Rig, lab_host: LabHost) -> Iterator[Rig]:
    kvm_rig.driver.ensure_pool(FAST, lab_host.directory / "fast")
    yield kvm_rig
    for domain in kvm_rig.driver.list_domains():
        kvm_rig.driver.destroy(domain.uuid)
    for volume in kvm_rig.driver.list_volumes(FAST):
        kvm_rig.driver.delete_volume(FAST, volume.name)
    kvm_rig.driver.delete_pool(FAST)


@pytest.fixture
def machine(rig: Rig, echo_image: Path) -> DomainSpec:
    """Running, with 48 MiB of data of its own."""
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    made = rig.driver.ensure_overlay(POOL, "disk", "image", 256 * MIB)
    subprocess.run(["qemu-io", "-c", "write -P 77 8M 48M", made.path], check=True, stdout=subprocess.DEVNULL)
    return running(rig, guest("disk"))


def running(rig: Rig, spec: DomainSpec) -> DomainSpec:
    rig.driver.define(spec)
    rig.driver.start(spec.uuid)
    return spec


def moved(machine: DomainSpec, pool: str = FAST, attempt: int = 0) -> DomainSpec:
    return replace(machine, attempt=attempt, disks=(replace(machine.disks[0], pool=pool, volume="new"),))


def to_the_end(rig: Rig, wanted: DomainSpec) -> None:
    for _ in range(300):
        try:
            if rig.driver.move_disk(wanted, "vda").is_complete:
                return
        except errors.Busy:
            continue
        time.sleep(0.05)
    raise AssertionError("not moved")


def check(rig: Rig, wanted: DomainSpec, *, data: bool = True) -> None:
    """The guest runs on, on the new volume, and all that was written is on it."""
    (domain,) = rig.other.inventory([POOL], NETWORK).domains
    assert domain.power is PowerState.RUNNING
    assert domain.outline == domain.running_outline == outline.of_spec(wanted)
    with rig.driver.open_serial(wanted.uuid) as serial:
        wait_for_echo(serial)
    rig.driver.destroy(wanted.uuid)
    volume = rig.driver.volume(FAST, "new")
    assert volume is not None
    assert volume.backing is None
    if data:
        done = subprocess.run(["qemu-io", "-c", "read -P 77 8M 48M", volume.path], capture_output=True, text=True)
        assert "failed" not in done.stdout + done.stderr
    rig.driver.start(wanted.uuid)


KILLED = """
import os, uuid
from unittest import mock
from hosts.driver import open_driver
from hosts.driver.kvm import move
from tests.driver.test_move import moved, guest
from hosts.driver.types import DiskSpec
import dataclasses
spec = dataclasses.replace(guest("disk"), uuid=uuid.UUID({uuid!r}), name="berth-{uuid}")
driver = open_driver({uri!r})
def die(*args, **options):
    os.kill(os.getpid(), 9)
mock.patch.object({place}, {name!r}, die).start()
for _ in range(200):
    driver.move_disk(moved(spec), "vda")
"""


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("move", "volume_xml"),  # nothing but a note is there
        ("move", "copy_target_xml"),  # the volume is made, and nothing is copied
        ("move._Move", "_switch"),  # both are the same
        ("move._Move", "_settle"),  # the guest is on the new volume, paused, and its definition is not
        ("move", "_let_go_on"),  # paused, and all else is done
    ],
)
def test_another_goes_on_where_one_was_killed(rig: Rig, machine: DomainSpec, place: str, name: str) -> None:
    program = KILLED.format(uuid=str(machine.uuid), uri=rig.uri, place=place, name=name)
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    to_the_end(rig, moved(machine, attempt=1))
    check(rig, moved(machine))
    assert rig.driver.inventory([FAST], NETWORK).pools[FAST].unfinished == ()


def test_one_that_was_paused_stays_paused(rig: Rig, machine: DomainSpec) -> None:
    rig.driver.suspend(machine.uuid)
    to_the_end(rig, moved(machine))
    state = rig.driver.state(machine.uuid)
    assert state is not None
    assert state.power is PowerState.PAUSED


def test_a_caller_that_was_overtaken_spoils_nothing(
    rig: Rig, machine: DomainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was held up with its volume made and its mirror not begun; another began anew meanwhile."""
    pauses, whole = iter([True]), move.copy_target_xml

    def held_up(path: str) -> str:
        if next(pauses, False):
            rig.other.move_disk(moved(machine, attempt=2), "vda")
        return whole(path)

    monkeypatch.setattr(move, "copy_target_xml", held_up)
    with pytest.raises(errors.DriverError):
        rig.driver.move_disk(moved(machine, attempt=1), "vda")
    monkeypatch.undo()
    to_the_end(rig, moved(machine, attempt=2))
    check(rig, moved(machine))


def test_a_mirror_into_a_file_that_was_removed_is_not_believed(rig: Rig, machine: DomainSpec) -> None:
    """As one is left whose caller was overtaken by another that then died as well."""
    rig.driver.move_disk(moved(machine), "vda")
    rig.driver.delete_volume(FAST, "new")  # and its mark
    with pytest.raises(errors.Busy):
        rig.driver.move_disk(moved(machine), "vda")
    to_the_end(rig, moved(machine))
    check(rig, moved(machine))


def test_power_is_lost_on_the_way(rig: Rig, machine: DomainSpec, lab_host: LabHost) -> None:
    """What was copied does not count, and the guest starts from where it was."""
    rig.driver.move_disk(moved(machine), "vda")
    lab_host.kill()
    lab_host.start()
    rig.driver.ensure_pool(POOL, lab_host.directory / "pool")
    rig.driver.ensure_pool(FAST, lab_host.directory / "fast")
    with pytest.raises(errors.InvalidState):
        rig.driver.move_disk(moved(machine), "vda")
    assert rig.driver.volume(FAST, "new") is None
    rig.driver.start(machine.uuid)
    to_the_end(rig, moved(machine))
    check(rig, moved(machine))


def test_the_daemon_dies_on_the_way(rig: Rig, machine: DomainSpec, lab_host: LabHost) -> None:
    rig.driver.move_disk(moved(machine), "vda")
    os.kill(lab_host.libvirtd_pid, 9)
    lab_host.start_libvirtd()
    wait_until(lambda: rig.other.state(machine.uuid) is not None)
    to_the_end(rig, moved(machine))
    check(rig, moved(machine))


def test_a_full_pool_is_told_and_the_guest_runs_on(rig: Rig, lab_host: LabHost, machine: DomainSpec) -> None:
    with small_pool(rig, lab_host, "24m") as pool:
        rig.driver.destroy(machine.uuid)
        rig.driver.start(machine.uuid)  # in the lab, QEMU sees what was mounted before it started
        wanted = moved(machine, pool)
        with pytest.raises(errors.NoSpace):
            to_the_end(rig, wanted)
        assert not rig.driver.end_move(machine.uuid, wanted.disks[0])
        assert rig.driver.list_volumes(pool) == []
        (domain,) = rig.other.inventory([POOL], NETWORK).domains
        assert domain.power is PowerState.RUNNING
        assert domain.outline == domain.running_outline == outline.of_spec(machine)


# -- a real guest ------------------------------------------------------------------------------------------------


@pytest.fixture
def linux(rig: Rig, tiny_image: Path) -> Iterator[tuple[DomainSpec, Console]]:
    """Running, and somebody is root at its console."""
    rig.driver.upload(POOL, "image", tiny_image, "qcow2")
    rig.driver.ensure_overlay(POOL, "disk", "image", 512 * MIB)
    spec = running(rig, replace(guest("disk"), memory_mib=96))
    with rig.driver.open_serial(spec.uuid) as connection:
        console = Console(connection)
        console.become_root()
        yield spec, console


def test_a_guest_that_listens(rig: Rig, linux: tuple[DomainSpec, Console], tmp_path: Path) -> None:
    """It finds the disk by its serial, sees it grow, and lets go of it at once."""
    spec, console = linux
    rig.driver.upload(POOL, "data", qcow2(tmp_path, b"known words".ljust(8 * MIB, b"\0")), "qcow2")
    data = DiskSpec(POOL, "data", "vdb", serial="018f000000000000000a")
    rig.driver.attach_disk(spec.uuid, data)
    assert console.command("sleep 1; cat /sys/block/vdb/serial") == data.serial
    assert console.command("dd if=/dev/vdb bs=11 count=1 2>/dev/null") == "known words"
    rig.driver.grow_disk(spec.uuid, data, 24 * MIB)
    assert console.command("sleep 1; blockdev --getsize64 /dev/vdb") == str(24 * MIB)
    console.command("echo other words | dd of=/dev/vdb bs=1M seek=20 conv=notrunc,fsync 2>/dev/null")
    assert rig.driver.detach_disk(spec.uuid, data)
    assert console.command("ls /sys/block | grep vdb") == ""
    made = rig.driver.volume(POOL, "data")
    assert made is not None
    read = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", made.path, tmp_path / "data.raw"]
    subprocess.run(read, check=True)
    assert (tmp_path / "data.raw").read_bytes()[20 * MIB :].startswith(b"other words\n")


def test_the_guest_writes_all_the_while(rig: Rig, linux: tuple[DomainSpec, Console]) -> None:
    """Its root disk moves; what it wrote before, meanwhile and after is on the new volume, by its own checksums."""
    spec, console = linux
    console.command("dd if=/dev/urandom of=/root/before bs=1M count=32 2>/dev/null; sync")
    console.command(
        "(i=0; while [ ! -e /root/stop ]; do i=$((i+1)); echo $i > /root/count;"
        " dd if=/dev/urandom of=/root/f$((i%8)) bs=64k count=8 conv=fsync; done) > /dev/null 2>&1 & true"
    )
    to_the_end(rig, moved(spec))
    console.command("sleep 1; touch /root/stop; wait; sync", 60)
    assert int(console.command("cat /root/count")) > 2
    sums = console.command("cd /root && md5sum before f* | sort", 60)
    rig.driver.delete_volume(POOL, "disk")
    rig.driver.destroy(spec.uuid)
    rig.driver.start(spec.uuid)
    with rig.driver.open_serial(spec.uuid) as connection:
        again = Console(connection)
        again.become_root()
        assert again.command("cd /root && md5sum before f* | sort", 60) == sums
        assert again.command("dmesg | grep -ci 'ext4.*error'") == "0"
