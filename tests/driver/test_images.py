"""What images need of a host: their bytes back, a CD that boots, and UEFI."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from hosts.driver import errors
from hosts.driver.types import CdromSpec, DiskSpec, DomainSpec, Firmware, PowerState, Reason
from hosts.driver.xml import outline
from tests.driver.guests import guest, qcow2
from tests.driver.media import bootable_iso, uefi_disk
from tests.driver.rig import NETWORK, POOL, Rig
from tests.driver.test_kvm import resident_bytes
from tests.lab.fixtures import LabHost

MIB = 1 << 20


def downloaded(rig: Rig, name: str) -> bytes:
    pieces: list[bytes] = []
    size = rig.other.download(POOL, name, pieces.append)
    data = b"".join(pieces)
    assert len(data) == size
    return data


def test_what_was_uploaded_comes_back(rig: Rig, echo_image: Path) -> None:
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    rig.driver.upload(POOL, "seed", os.urandom(3 * MIB + 17) + b"\0" * MIB, "raw")
    assert downloaded(rig, "image") == echo_image.read_bytes()
    fractions: list[float] = []
    digest = hashlib.sha256()
    rig.driver.download(POOL, "seed", digest.update, fractions.append)
    assert digest.hexdigest() == hashlib.sha256(downloaded(rig, "seed")).hexdigest()
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_a_copy_comes_back_as_an_image_of_its_size(rig: Rig, echo_image: Path) -> None:
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    rig.driver.ensure_overlay(POOL, "disk", "image", 4 * MIB)
    job = UUID(int=7)
    while not rig.driver.copy_volume(job, 1, POOL, "disk", "copy").is_complete:
        pass
    data = downloaded(rig, "copy")
    assert data[:4] == b"QFI\xfb"
    assert int.from_bytes(data[24:32]) == 4 * MIB
    assert int.from_bytes(data[8:16]) == 0  # no backing file


def test_what_is_not_whole_is_not_given(rig: Rig) -> None:
    with pytest.raises(errors.NotFound):
        rig.driver.download(POOL, "image", print)
    refusals = []

    def look(fraction: float) -> None:
        try:
            rig.other.download(POOL, "image", print)
        except errors.NotFound:
            refusals.append(fraction)

    rig.driver.upload(POOL, "image", b"x" * MIB, "raw", look)
    assert refusals == [1]


def test_a_download_that_is_stopped_stops(rig: Rig) -> None:
    rig.driver.upload(POOL, "image", b"x" * 4 * MIB, "raw")
    taken: list[bytes] = []

    def stop(fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rig.driver.download(POOL, "image", taken.append, stop)
    assert len(taken) == 1
    assert len(downloaded(rig, "image")) == 4 * MIB


def test_a_download_takes_constant_memory(kvm_rig: Rig, tmp_path: Path) -> None:
    big = tmp_path / "big.raw"
    with big.open("wb") as file:
        file.truncate(256 * MIB)
    kvm_rig.driver.upload(POOL, "big", big, "raw")
    before, most = resident_bytes(), 0

    def look(fraction: float) -> None:
        nonlocal most
        most = max(most, resident_bytes())

    assert kvm_rig.driver.download(POOL, "big", len, look) == 256 * MIB
    assert most - before < 96 * MIB  # other threads of these tests take some too


def ended_by_itself(rig: Rig, uuid: UUID, seconds: float) -> bool:
    rig.driver.wait_for(uuid, [PowerState.STOPPED], seconds)
    (domain,) = rig.driver.inventory([POOL], NETWORK).domains
    return domain.reason is Reason.GUEST


def test_a_cd_boots_where_the_disk_is_empty(kvm_rig: Rig, tmp_path: Path) -> None:
    """It lies in the pool as a qcow2 file, and behind the seed, as for a machine."""
    kvm_rig.driver.upload(POOL, "installer", qcow2(tmp_path, bootable_iso()), "qcow2")
    kvm_rig.driver.upload(POOL, "seed", b"\0" * MIB, "raw")
    kvm_rig.driver.upload(POOL, "disk", qcow2(tmp_path, bytes(4 * MIB)), "qcow2")
    cdroms = (CdromSpec(POOL, "seed"), CdromSpec(POOL, "installer", "sdb", format="qcow2", boots=True))
    spec = guest("disk", cdroms=cdroms, memory_mib=64)
    kvm_rig.driver.define(spec)
    (domain,) = kvm_rig.driver.inventory([POOL], NETWORK).domains
    assert domain.outline == outline.of_spec(spec)
    kvm_rig.driver.start(spec.uuid)
    assert ended_by_itself(kvm_rig, spec.uuid, 40)


def test_uefi_boots_what_bios_would_not(kvm_rig: Rig, lab_host: LabHost, tmp_path: Path) -> None:
    assert Firmware.UEFI in kvm_rig.driver.facts().firmwares, "install ovmf"
    kvm_rig.driver.upload(POOL, "disk", qcow2(tmp_path, uefi_disk(tmp_path)), "qcow2")
    spec = guest("disk", firmware=Firmware.UEFI, memory_mib=128)
    kvm_rig.driver.define(spec)
    kvm_rig.driver.start(spec.uuid)
    (domain,) = kvm_rig.other.inventory([POOL], NETWORK).domains
    assert domain.running_outline == domain.outline == outline.of_spec(spec)
    assert ended_by_itself(kvm_rig, spec.uuid, 90)
    variables = nvram(spec, lab_host)
    assert variables.is_file()
    kvm_rig.driver.define(replace(spec, memory_mib=160))
    kvm_rig.driver.start(spec.uuid)
    assert ended_by_itself(kvm_rig, spec.uuid, 90)
    kvm_rig.driver.undefine(spec.uuid)
    assert not variables.exists()


def test_uefi_boots_from_a_cd_too(kvm_rig: Rig, tmp_path: Path) -> None:
    """As installers do: the disk is empty, and its CD has a file system that UEFI reads."""
    kvm_rig.driver.upload(POOL, "cd", qcow2(tmp_path, uefi_disk(tmp_path)), "qcow2")
    kvm_rig.driver.upload(POOL, "disk", qcow2(tmp_path, bytes(4 * MIB)), "qcow2")
    cdroms = (CdromSpec(POOL, "cd", "sdb", format="qcow2", boots=True),)
    spec = guest(disks=(DiskSpec(POOL, "disk", "vda"),), cdroms=cdroms, firmware=Firmware.UEFI, memory_mib=128)
    kvm_rig.driver.define(spec)
    kvm_rig.driver.start(spec.uuid)
    assert ended_by_itself(kvm_rig, spec.uuid, 90)


def nvram(spec: DomainSpec, host: LabHost) -> Path:
    """Where libvirt keeps it; the host has a view of /var/lib/libvirt of its own."""
    return Path(f"/proc/{host.libvirtd_pid}/root/var/lib/libvirt/qemu/nvram/{spec.name}_VARS.fd")
