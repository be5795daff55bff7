"""Merges on real QEMU: every byte stays, whatever happens to those who ask for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from hosts.driver import errors
from hosts.driver.kvm.probe import boot_disk
from hosts.driver.types import DomainSpec, FreshLayer, Merge, PowerState
from tests.driver.guests import ECHO, guest, qcow2
from tests.driver.rig import POOL, Rig
from tests.driver.test_kvm import small_pool
from tests.driver.test_layers import disks_of, merged, of, overlay
from tests.lab.fixtures import LabHost

MIB = 1 << 20
SIZE_MIB = 64


@pytest.fixture
def rig(kvm_rig: Rig) -> Rig:
    return kvm_rig


def write(rig: Rig, name: str, byte: int, *places_mib: int) -> None:
    volume = rig.driver.volume(POOL, name)
    assert volume is not None
    for place in places_mib:
        subprocess.run(["qemu-io", "-c", f"write -P {byte} {place}M 1M", volume.path], check=True, capture_output=True)


@dataclass(frozen=True)
class Stack:
    """Layers named 1, 2, 3 with data of their own, and what the top reads as. A guest that runs on it writes nothing;
    what QEMU has not written down yet of its own, a reader beside it does not see."""

    machine: DomainSpec
    expected: Path
    pool: Path

    def path(self, name: str) -> Path:
        return self.pool / name

    def is_same(self, top: str) -> bool:
        compare = ["qemu-img", "compare", "-U", "-q", "-f", "raw", "-F", "qcow2", self.expected, self.path(top)]
        return subprocess.run(compare).returncode == 0


@pytest.fixture
def stack(rig: Rig, tmp_path: Path) -> Stack:
    rig.driver.upload(POOL, "image", qcow2(tmp_path, boot_disk(ECHO)), "qcow2")
    for below, name, byte, places in (
        ("image", "1", 11, (4, 5, 6, 40)),
        ("1", "2", 22, (5, 6, 50)),
        ("2", "3", 33, (6, 7)),
    ):
        overlay(rig, name, below, SIZE_MIB)
        write(rig, name, byte, *places)
    top, expected = rig.driver.volume(POOL, "3"), tmp_path / "expected.raw"
    assert top is not None
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", top.path, expected], check=True)
    spec = guest("3")
    rig.driver.define(spec)
    return Stack(spec, expected, Path(top.path).parent)


@pytest.mark.parametrize("keep", ["2", "3"])
@pytest.mark.parametrize("is_running", [True, False])
def test_no_byte_changes_at_the_top(rig: Rig, stack: Stack, keep: str, is_running: bool) -> None:
    if is_running:
        rig.driver.start(stack.machine.uuid)
    merge = of(stack.machine, "2", "3", keep=keep, is_to_run=is_running)
    assert merged(rig, merge) == keep
    if is_running:
        assert disks_of(rig, stack.machine.uuid)["vda"] == keep
        rig.driver.destroy(stack.machine.uuid)
        assert disks_of(rig, stack.machine.uuid)["vda"] == keep  # the definition knows it too
    rig.driver.delete_volume(POOL, "2" if keep == "3" else "3")
    assert stack.is_same(keep)
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", stack.path(keep)], check=True)


@pytest.mark.parametrize("is_running", [True, False])
def test_no_byte_changes_above_the_middle(rig: Rig, stack: Stack, is_running: bool) -> None:
    if is_running:
        rig.driver.start(stack.machine.uuid)
    kept = merged(rig, of(stack.machine, "1", "2", "3", is_to_run=is_running))
    rig.driver.destroy(stack.machine.uuid)
    rig.driver.delete_volume(POOL, "2" if kept == "1" else "1")
    assert stack.is_same("3")


def test_of_several_above_each_reads_the_same(rig: Rig, stack: Stack, tmp_path: Path) -> None:
    overlay(rig, "other", "2", SIZE_MIB)
    before = tmp_path / "other.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", stack.path("other"), before], check=True)
    assert merged(rig, of(stack.machine, "1", "2", "3", "other")) == "2"
    rig.driver.delete_volume(POOL, "1")
    assert stack.is_same("3")
    subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", before, stack.path("other")], check=True)


def program(rig: Rig, merge: Merge, job: object) -> str:
    return f"""
import os, uuid
from uuid import UUID
from hosts.driver import open_driver
from hosts.driver.types import Merge
open_driver({rig.uri!r}).merge(uuid.UUID({str(job)!r}), {merge!r}, may_switch=False)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("is_running", [True, False])
def test_it_goes_on_without_the_process_that_began_it(rig: Rig, stack: Stack, is_running: bool) -> None:
    if is_running:
        rig.driver.start(stack.machine.uuid)
    merge, job = of(stack.machine, "2", "3", keep="2", is_to_run=is_running), uuid4()
    subprocess.run([sys.executable, "-c", program(rig, merge, job)])
    for _ in range(100):
        facts = rig.driver.merge(job, merge, may_switch=True)
        assert not facts.has_begun
        if facts.kept:
            break
        time.sleep(0.05)
    assert facts.kept == "2"
    assert stack.is_same("2")


@pytest.mark.parametrize("is_running", [True, False])
def test_one_that_lost_power_begins_anew(rig: Rig, stack: Stack, lab_host: LabHost, is_running: bool) -> None:
    if is_running:
        rig.driver.start(stack.machine.uuid)
    merge, job = of(stack.machine, "2", "3", keep="2", is_to_run=is_running), uuid4()
    rig.driver.merge(job, merge, may_switch=False)
    lab_host.kill()
    lab_host.start()
    rig.driver.ensure_pool(POOL, stack.pool)
    assert merged(rig, merge) == "2"
    assert stack.is_same("2")


def test_a_guest_that_went_off_after_the_switch_is_known_by_its_definition(rig: Rig, stack: Stack) -> None:
    rig.driver.start(stack.machine.uuid)
    merge, job = of(stack.machine, "2", "3", keep="2", is_to_run=True), uuid4()
    while rig.driver.merge(job, merge, may_switch=True).kept is None:
        time.sleep(0.05)
    rig.driver.destroy(stack.machine.uuid)  # before anybody wrote down what was kept
    facts = rig.driver.merge(job, merge, may_switch=True)
    assert facts.kept == "2"
    assert not facts.has_begun
    assert [domain.uuid for domain in rig.driver.list_domains()] == [stack.machine.uuid]


def test_no_guest_starts_on_what_is_merged(rig: Rig, stack: Stack) -> None:
    merge, job = of(stack.machine, "2", "3", keep="2"), uuid4()
    rig.driver.merge(job, merge, may_switch=False)
    with pytest.raises(errors.Busy):
        rig.driver.start(stack.machine.uuid)
    assert rig.driver.end_merge(job, merge, may_switch=False) is None
    rig.driver.start(stack.machine.uuid)
    state = rig.driver.state(stack.machine.uuid)
    assert state is not None
    assert state.power is PowerState.RUNNING


def go_on(rig: Rig, merge: Merge, job: UUID) -> None:
    for _ in range(20):
        rig.driver.merge(job, merge, may_switch=True)
        time.sleep(0.2)


def test_a_full_pool_is_told(rig: Rig, lab_host: LabHost, tmp_path: Path) -> None:
    with small_pool(rig, lab_host, "64m") as pool:
        rig.driver.upload(pool, "1", qcow2(tmp_path, os.urandom(24 * MIB)), "qcow2")
        rig.driver.ensure_overlay(pool, "2", "1", 128 * MIB)
        enter = ["nsenter", "--mount", f"--target={lab_host.libvirtd_pid}"]
        fill = ["qemu-io", "-c", "write -P 7 64M 24M", str(lab_host.directory / "small" / "2")]
        subprocess.run([*enter, *fill], check=True, capture_output=True)
        merge, job = Merge(pool, "1", "2", uuid4(), "vda", keep="1"), uuid4()
        with pytest.raises(errors.NoSpace):
            go_on(rig, merge, job)
        assert rig.driver.list_domains() == []


def test_a_freeze_loses_no_write(rig: Rig, stack: Stack) -> None:
    rig.driver.start(stack.machine.uuid)
    overlay(rig, "4", "3", SIZE_MIB)
    rig.driver.freeze(stack.machine.uuid, [FreshLayer("vda", POOL, "4")])
    assert stack.is_same("3")
    assert stack.is_same("4")
