"""Copies on real QEMU: every byte arrives, whatever happens to those who ask for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import libvirt
import pytest

from hosts.driver import errors, open_driver
from hosts.driver.kvm import copy
from hosts.driver.types import CopyFacts, PowerState
from tests.driver.guests import guest, qcow2
from tests.driver.rig import NETWORK, POOL, Rig
from tests.driver.test_kvm import small_pool
from tests.lab.fixtures import LabHost

MIB = 1 << 20


@pytest.fixture
def rig(kvm_rig: Rig) -> Rig:
    return kvm_rig


@pytest.fixture
def source(rig: Rig, tmp_path: Path) -> Path:
    """The file of the volume "disk": data of its own over an image with other data, and holes."""
    rig.driver.upload(POOL, "image", qcow2(tmp_path, os.urandom(8 * MIB)), "qcow2")
    made = rig.driver.ensure_overlay(POOL, "disk", "image", 512 * MIB)
    for position in (4, 100, 510):
        subprocess.run(["qemu-io", "-c", f"write -P {position % 251} {position}M 1M", made.path], check=True)
    return Path(made.path)


def to_the_end(rig: Rig, job: UUID, attempt: int = 1) -> CopyFacts:
    """However often somebody else is in the way."""
    for _ in range(300):
        try:
            facts = rig.driver.copy_volume(job, attempt, POOL, "disk", "copy")
        except errors.Busy:
            continue
        if facts.is_complete:
            return facts
        time.sleep(0.05)
    raise AssertionError("not copied")


def is_same(rig: Rig, source: Path, name: str = "copy") -> bool:
    made = rig.driver.volume(POOL, name)
    assert made is not None
    compare = ["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2"]
    return subprocess.run([*compare, source, made.path]).returncode == 0


def test_every_byte_arrives_and_holes_stay_holes(rig: Rig, source: Path) -> None:
    to_the_end(rig, uuid4())
    assert is_same(rig, source)
    made = rig.driver.volume(POOL, "copy")
    assert made is not None
    assert made.allocation_bytes < 16 * MIB
    assert Path(made.path).stat().st_mode & 0o007 == 0


def test_it_goes_on_without_the_process_that_began_it(rig: Rig, source: Path) -> None:
    job = uuid4()
    program = f"""
import os, uuid
from hosts.driver import open_driver
open_driver({rig.uri!r}).copy_volume(uuid.UUID({str(job)!r}), 1, {POOL!r}, "disk", "copy")
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", program])
    assert rig.driver.volume(POOL, "copy") is None
    assert [domain.name for domain in rig.driver.list_domains()] == [f"berth-copy-{job}"]
    to_the_end(rig, job)
    assert is_same(rig, source)
    assert rig.driver.list_domains() == []


@pytest.fixture
def left_behind(rig: Rig, source: Path, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """A copy whose caller was killed when it had the domain and nothing else."""
    job = uuid4()

    def killed(*arguments: object) -> str:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(copy, "volume_xml", killed)
        with pytest.raises(RuntimeError):
            rig.driver.copy_volume(job, 1, POOL, "disk", "copy")
    return job


def test_one_that_was_left_before_it_began_begins_anew(rig: Rig, source: Path, left_behind: UUID) -> None:
    with pytest.raises(errors.Busy):  # its caller may be about to go on
        rig.driver.copy_volume(left_behind, 1, POOL, "disk", "copy")
    assert rig.driver.list_domains() != []
    with pytest.raises(errors.Busy):
        rig.driver.copy_volume(left_behind, 2, POOL, "disk", "copy")
    to_the_end(rig, left_behind, 2)
    assert is_same(rig, source)


def test_no_guest_starts_on_what_is_copied(rig: Rig, left_behind: UUID) -> None:
    spec = guest("disk")
    rig.driver.define(spec)
    with pytest.raises(errors.DriverError):
        rig.driver.start(spec.uuid)
    rig.driver.end_copy(left_behind)
    rig.driver.start(spec.uuid)
    state = rig.driver.state(spec.uuid)
    assert state is not None
    assert state.power is PowerState.RUNNING


def test_what_a_guest_runs_on_is_not_copied(rig: Rig, source: Path) -> None:
    spec = guest("disk")
    rig.driver.define(spec)
    rig.driver.start(spec.uuid)
    with pytest.raises(errors.DriverError):
        rig.driver.copy_volume(uuid4(), 1, POOL, "disk", "copy")
    assert rig.driver.inventory([POOL], NETWORK).pools[POOL].unfinished == ()
    assert [domain.uuid for domain in rig.driver.list_domains()] == [spec.uuid]


def test_a_caller_that_was_overtaken_removes_nothing(rig: Rig, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was paused with the domain just made; meanwhile another took over, and is done."""
    job, volume_xml = uuid4(), copy.volume_xml
    pauses = iter([True])

    def paused(name: str, fmt: str, capacity_bytes: int) -> str:
        if next(pauses, False):
            to_the_end(Rig(rig.other, rig.driver, rig.uri, rig.cidr, rig.directory), job, 2)
        return volume_xml(name, fmt, capacity_bytes)

    monkeypatch.setattr(copy, "volume_xml", paused)
    with pytest.raises(errors.DriverError):
        rig.driver.copy_volume(job, 1, POOL, "disk", "copy")
    assert is_same(rig, source)
    assert rig.driver.inventory([POOL], NETWORK).pools[POOL].unfinished == ()


def test_a_caller_that_was_late_removes_no_finished_copy(
    rig: Rig, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had looked, and was paused before it made the domain; meanwhile others were done."""
    job, copier_xml = uuid4(), copy.copier_xml
    pauses = iter([True])

    def paused(*arguments: Any) -> str:
        if next(pauses, False):
            to_the_end(Rig(rig.other, rig.driver, rig.uri, rig.cidr, rig.directory), job, 2)
        return copier_xml(*arguments)

    monkeypatch.setattr(copy, "copier_xml", paused)
    made = rig.driver.copy_volume(job, 1, POOL, "disk", "copy")
    assert made.is_complete
    assert is_same(rig, source)
    assert rig.driver.inventory([POOL], NETWORK).pools[POOL].unfinished == ()
    assert rig.driver.list_domains() == []


@pytest.mark.parametrize("job", [{"cur": 0, "end": 0}, {"cur": 0, "end": 1}])
def test_the_total_is_the_disk_until_qemu_knows_it(
    rig: Rig, source: Path, monkeypatch: pytest.MonkeyPatch, job: dict[str, int]
) -> None:
    id = uuid4()
    rig.driver.copy_volume(id, 1, POOL, "disk", "copy")
    with monkeypatch.context() as patch:
        patch.setattr(libvirt.virDomain, "blockJobInfo", lambda *arguments: job)
        assert rig.driver.copy_volume(id, 1, POOL, "disk", "copy") == CopyFacts(0, 512 * MIB, False)
    to_the_end(rig, id)


def test_of_callers_at_once_all_see_one_copy(rig: Rig, source: Path) -> None:
    job = uuid4()

    def ask(_: int) -> str:
        driver = open_driver(rig.uri)
        try:
            driver.copy_volume(job, 1, POOL, "disk", "copy")
        except errors.DriverError as error:
            return error.code
        finally:
            driver.close()
        return "ok"

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(ask, range(12))) <= {"ok", "resource_busy"}
    to_the_end(rig, job)
    assert is_same(rig, source)
    assert rig.driver.inventory([POOL], NETWORK).pools[POOL].unfinished == ()
    assert rig.driver.list_domains() == []


def test_one_that_lost_power_begins_anew(rig: Rig, source: Path, lab_host: LabHost) -> None:
    job = uuid4()
    assert not rig.driver.copy_volume(job, 1, POOL, "disk", "copy").is_complete
    lab_host.kill()
    lab_host.start()
    rig.driver.ensure_pool(POOL, source.parent)
    assert rig.driver.volume(POOL, "copy") is None
    to_the_end(rig, job)
    assert is_same(rig, source)


def kill_copier(job: UUID) -> None:
    """Its QEMU, by the pid that is found by the name that nobody else has."""
    found = subprocess.run(["pgrep", "-f", f"guest=berth-copy-{job}"], capture_output=True, text=True, check=True)
    os.kill(int(found.stdout.split()[0]), signal.SIGKILL)


@pytest.mark.parametrize("is_killed", [True, False])
def test_one_whose_copier_is_ended_at_its_beginning_begins_anew(
    rig: Rig, source: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    """The domain is there, and the job is about to begin."""
    job, copy_target_xml = uuid4(), copy.copy_target_xml
    deaths = iter([True, True])

    def ended(path: str) -> str:
        if next(deaths, False):
            kill_copier(job) if is_killed else rig.other.destroy(job)
        return copy_target_xml(path)

    monkeypatch.setattr(copy, "copy_target_xml", ended)
    for _ in range(2):
        assert rig.driver.copy_volume(job, 1, POOL, "disk", "copy") == CopyFacts(0, 512 * MIB, False, has_begun=True)
        assert rig.driver.volume(POOL, "copy") is None
    to_the_end(rig, job)
    assert is_same(rig, source)
    assert rig.driver.inventory([POOL], NETWORK).pools[POOL].unfinished == ()


def test_one_whose_copier_dies_while_it_starts_begins_anew(rig: Rig, source: Path) -> None:
    job, until = uuid4(), time.monotonic() + 30

    def kill_at_once() -> None:
        while time.monotonic() < until:
            with suppress(subprocess.CalledProcessError):
                kill_copier(job)
                return

    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill_at_once)
        facts = rig.driver.copy_volume(job, 1, POOL, "disk", "copy")
        killed.result()
    assert (facts.is_complete, facts.has_begun) == (False, True)
    to_the_end(rig, job)
    assert is_same(rig, source)


@pytest.mark.parametrize("is_killed", [True, False])
def test_one_whose_copier_is_ended_at_its_end_begins_anew(
    rig: Rig, source: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    """All of it has arrived, and what QEMU still holds is not written down yet."""
    job, is_in_step = uuid4(), copy.is_in_step
    deaths = iter([True])

    def ended(progress: dict[str, int]) -> bool:
        if is_in_step(progress) and next(deaths, False):
            kill_copier(job) if is_killed else rig.other.destroy(job)
        return is_in_step(progress)

    monkeypatch.setattr(copy, "is_in_step", ended)
    to_the_end(rig, job)
    assert next(deaths, None) is None
    assert is_same(rig, source)
    assert rig.driver.inventory([POOL], NETWORK).pools[POOL].unfinished == ()


def test_a_pool_that_is_not_active_is_told_at_once(rig: Rig, source: Path) -> None:
    connect = libvirt.open(rig.uri)
    pool = connect.storagePoolLookupByName(POOL)
    pool.destroy()
    try:
        with pytest.raises(errors.InvalidState, match=f"pool {POOL} is not active"):
            rig.driver.copy_volume(uuid4(), 1, POOL, "disk", "copy")
    finally:
        pool.create()
        connect.close()


def test_a_full_pool_is_told(rig: Rig, lab_host: LabHost, tmp_path: Path) -> None:
    with small_pool(rig, lab_host, "48m") as pool:
        rig.driver.upload(pool, "disk", qcow2(tmp_path, os.urandom(30 * MIB)), "qcow2")
        job = uuid4()
        assert not rig.driver.copy_volume(job, 1, pool, "disk", "copy").is_complete
        time.sleep(2)
        with pytest.raises(errors.NoSpace):
            rig.driver.copy_volume(job, 1, pool, "disk", "copy")
        assert rig.driver.volume(pool, "copy") is None
        assert rig.driver.list_domains() == []
        rig.driver.delete_volume(pool, "copy")
        assert [volume.name for volume in rig.driver.list_volumes(pool)] == ["disk"]
