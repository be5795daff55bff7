"""Backups on real QEMU: what is read back, what is refused, and guests that are never left frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import libvirt
import libvirt_qemu
import pytest

from hosts.driver import errors
from hosts.driver.types import BackupDiskSpec, BackupSpec, Consistency, DiskSpec, DomainSpec, PowerState
from tests.driver.rig import NETWORK, POOL, Rig
from tests.driver.test_backup import MIB, TARGET, absorbed, back_up, changes, full, machine, names  # noqa: F401
from tests.driver.test_kvm import small_pool, wait_until
from tests.lab.fixtures import LabHost


@pytest.fixture
def rig(kvm_rig: Rig) -> Rig:
    return kvm_rig


@pytest.fixture
def running(rig: Rig, machine: DomainSpec) -> Disk:  # noqa: F811
    rig.driver.start(machine.uuid)
    return Disk(rig, machine)


class Disk:
    """A running guest's disk, written to from outside as the guest would."""

    def __init__(self, rig: Rig, spec: DomainSpec) -> None:
        self.rig, self.spec = rig, spec

    @property
    def domain(self) -> libvirt.virDomain:
        """Over a connection of this call's: daemons die in these tests."""
        return libvirt.open(self.rig.uri).lookupByUUIDString(str(self.spec.uuid))

    def write(self, pattern: int, at_mib: int, size_mib: int = 1) -> None:
        self._io(f"write -P {pattern} {at_mib}M {size_mib}M")

    def zero(self, at_mib: int) -> None:
        self._io(f"write -z {at_mib}M 512k")
        self._io(f"discard {at_mib * 1024 + 512}k 512k")

    def _io(self, command: str) -> None:
        device = "/machine/peripheral/virtio-disk0/virtio-backend"
        said = libvirt_qemu.qemuMonitorCommand(self.domain, f'qemu-io -d {device} "{command}"', 1)
        assert "error" not in said.lower(), said

    def is_same(self, name: str) -> bool:
        self._io("flush")
        kept, own = self.rig.driver.volume(TARGET, name), self.rig.driver.volume(POOL, self._volume())
        assert kept is not None
        assert own is not None
        compare = ["qemu-img", "compare", "-q", "-U", "-f", "qcow2", "-F", "qcow2", kept.path, own.path]
        return subprocess.run(compare).returncode == 0

    def _volume(self) -> str:
        return next(disk.volume for disk in self.rig.driver.inventory([POOL], NETWORK).domains[0].disks)


def test_each_reads_as_the_disk_did_then(rig: Rig, running: Disk) -> None:
    running.write(1, 1, 2)
    running.write(2, 8)
    back_up(rig, running.spec, full("one"))
    assert running.is_same("one")
    running.write(3, 8)
    running.zero(1)
    assert not running.is_same("one")
    back_up(rig, running.spec, changes("two", "one"))
    assert running.is_same("two")
    running.write(4, 20)
    back_up(rig, running.spec, changes("three", "two"))
    assert running.is_same("three")
    for base in ("one", ""):
        absorbed(rig, "three", base)
        assert running.is_same("three")


def test_only_what_changed_is_read(rig: Rig, running: Disk) -> None:
    back_up(rig, running.spec, full("one"))
    running.write(1, 4, 3)
    begun = rig.driver.back_up(running.spec.uuid, changes("two", "one"))
    job = running.domain.jobStats() if not begun.total_bytes else {"disk_total": begun.total_bytes}
    back_up(rig, running.spec, changes("two", "one"))
    assert job.get("disk_total", 3 * MIB) == 3 * MIB
    two = rig.driver.volume(TARGET, "two")
    assert two is not None
    assert two.allocation_bytes < 4 * MIB


def test_counts_survive_a_power_cycle_and_a_snapshot(rig: Rig, running: Disk) -> None:
    back_up(rig, running.spec, full("one"))
    running.write(1, 4)
    rig.driver.destroy(running.spec.uuid)
    rig.driver.start(running.spec.uuid)
    running.write(2, 6)
    back_up(rig, running.spec, changes("two", "one"))
    assert running.is_same("two")


def test_one_whose_qemu_was_killed_must_be_full(rig: Rig, running: Disk) -> None:
    back_up(rig, running.spec, full("one"))
    name = f"guest={running.spec.name}"
    os.kill(int(subprocess.check_output(["pgrep", "-f", name], text=True).split()[0]), signal.SIGKILL)
    wait_until(lambda: not running.domain.isActive())
    rig.driver.start(running.spec.uuid)
    with pytest.raises(errors.CheckpointLost, match="gap"):
        rig.driver.back_up(running.spec.uuid, changes("two", "one"))
    back_up(rig, running.spec, full("two"))
    assert running.is_same("two")
    assert rig.driver.checkpoints(running.spec.uuid) == {"of-two"}


def test_one_on_another_disk_must_be_full(rig: Rig, running: Disk) -> None:
    """An overlay that was put on top while it was off, and a copy: nothing was counted there."""
    back_up(rig, running.spec, full("one"))
    rig.driver.destroy(running.spec.uuid)
    rig.driver.ensure_overlay(POOL, "other", "disk", 32 * MIB)
    other = replace(running.spec, disks=(DiskSpec(POOL, "other", "vda"),))
    rig.driver.define(other)
    rig.driver.start(running.spec.uuid)
    running.write(7, 5)
    with pytest.raises(errors.CheckpointLost):
        rig.driver.back_up(running.spec.uuid, changes("two", "one"))
    rig.driver.destroy(running.spec.uuid)
    rig.driver.upload(POOL, "fresh", Path(str(rig.driver.volume(POOL, "image").path)), "qcow2")  # type: ignore[union-attr]
    rig.driver.define(replace(running.spec, disks=(DiskSpec(POOL, "fresh", "vda"),)))
    rig.driver.start(running.spec.uuid)
    back_up(rig, running.spec, full("two"))
    assert running.is_same("two")
    assert rig.driver.checkpoints(running.spec.uuid) == {"of-two"}


def test_a_full_target_is_told_and_the_guest_runs_on(rig: Rig, running: Disk, lab_host: LabHost) -> None:
    back_up(rig, running.spec, full("one"))
    running.write(9, 1, 24)
    with small_pool(rig, lab_host, "12m") as pool:
        rig.driver.destroy(running.spec.uuid)  # guests see mounts from before their start
        rig.driver.start(running.spec.uuid)
        spec = BackupSpec(pool, (BackupDiskSpec("vda", "two"),), "of-two", keep=("of-one",))
        with pytest.raises(errors.NoSpace):
            back_up(rig, running.spec, spec)
        assert rig.driver.list_volumes(pool) == []
        assert running.domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
        rig.driver.destroy(running.spec.uuid)
    rig.driver.start(running.spec.uuid)
    back_up(rig, running.spec, changes("three", "one"))
    assert running.is_same("three")


def test_a_daemon_that_dies_meanwhile(rig: Rig, running: Disk, lab_host: LabHost) -> None:
    """It begins anew, or is there: never half of it."""
    running.write(5, 1, 20)
    rig.driver.back_up(running.spec.uuid, full("one"))
    os.kill(lab_host.libvirtd_pid, signal.SIGKILL)
    time.sleep(0.5)
    lab_host.start_libvirtd()
    wait_until(lambda: _answers(rig))
    back_up(rig, running.spec, full("one"))
    assert running.is_same("one")
    assert names(rig) == ["one"]


def _answers(rig: Rig) -> bool:
    try:
        return bool(rig.driver.list_domains())
    except errors.DriverError:
        return False


def test_a_host_that_loses_power_meanwhile(rig: Rig, running: Disk, lab_host: LabHost) -> None:
    back_up(rig, running.spec, full("one"))
    rig.driver.back_up(running.spec.uuid, changes("two", "one"))
    path = rig.driver.volume(TARGET, "one").path  # type: ignore[union-attr]
    lab_host.kill()
    lab_host.start()
    rig.driver.ensure_pool(TARGET, Path(path).parent)
    rig.driver.end_backup(running.spec.uuid, changes("two", "one"))
    assert names(rig) == ["one"]
    state = rig.driver.state(running.spec.uuid)
    assert state is not None
    assert state.power is PowerState.STOPPED
    done = back_up(rig, running.spec, replace(full("three"), is_off=True))
    assert done.consistency is Consistency.OFF
