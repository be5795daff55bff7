"""A freeze that writes down memory on real QEMU, and is ended in the middle: the guest goes on as if nothing was."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import libvirt
import pytest

from hosts.driver.kvm.probe import boot_disk
from hosts.driver.types import DiskSpec, DomainSpec, FreshLayer, PowerState
from tests.driver.guests import guest, qcow2
from tests.driver.rig import POOL, Rig
from tests.driver.test_layers import disks_of, overlay, power
from tests.lab.fixtures import LabHost

# Writes 0xa5 from 64 KiB to 576 KiB, and halts: more than fits into the pipe to the one that writes the file.
FILL = bytes.fromhex("fa b80010 8ec0 31ff b90080 50 b8a5a5 fc f3ab 58 050010 3d0090 75e9 f4 ebfd")
LAST = 0x8FFF0


class Stop(Exception):
    """What a cancel raises where progress is told."""


@pytest.fixture
def rig(kvm_rig: Rig) -> Rig:
    return kvm_rig


@pytest.fixture
def machine(rig: Rig, lab_host: LabHost, tmp_path: Path) -> DomainSpec:
    rig.driver.upload(POOL, "image", qcow2(tmp_path, boot_disk(FILL)), "qcow2")
    overlay(rig, "base", "image")
    overlay(rig, "data", "image")
    spec = guest(disks=(DiskSpec(POOL, "base", "vda"), DiskSpec(POOL, "data", "vdb")))
    rig.driver.define(spec)
    rig.driver.start(spec.uuid)
    domain = libvirt.open(lab_host.uri).lookupByUUIDString(str(spec.uuid))
    for _ in range(600):
        if domain.memoryPeek(LAST, 16, libvirt.VIR_MEMORY_PHYSICAL) == b"\xa5" * 16:
            return spec
        time.sleep(0.1)
    raise AssertionError("a guest that has written to its memory")


class Writer:
    """libvirt's helper that writes QEMU's stream into the file: it is stopped as soon as it is there."""

    def __init__(self, name: str) -> None:
        self._name, self._pid = name, 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def go_on(self) -> None:
        self._is_over.set()
        self._thread.join()
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGCONT)

    def _watch(self) -> None:
        while not self._pid and not self._is_over.is_set():
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    command = entry.read_bytes()
                    if b"libvirt_iohelper" in command and self._name.encode() in command:
                        self._pid = int(entry.parent.name)
                        os.kill(self._pid, signal.SIGSTOP)
                        return


@pytest.fixture
def writer(rig: Rig) -> Iterator[Writer]:
    writer = Writer("memory-of-a-freeze")
    yield writer
    writer.go_on()


def test_one_that_is_ended_leaves_the_guest_with_its_disks(rig: Rig, machine: DomainSpec, writer: Writer) -> None:
    rig.driver.end_freeze(machine.uuid)  # none is under way
    overlay(rig, "base-2", "base")
    overlay(rig, "data-2", "data")
    layers = [FreshLayer("vda", POOL, "base-2"), FreshLayer("vdb", POOL, "data-2")]
    rig.driver.upload(POOL, "memory-of-a-freeze", b"", "raw")

    def stop(fraction: float) -> None:
        raise Stop

    with pytest.raises(Stop):
        rig.driver.freeze(machine.uuid, layers, memory="memory-of-a-freeze", progress=stop)
    assert power(rig, machine) is PowerState.PAUSED
    threading.Timer(1, writer.go_on).start()
    began = time.monotonic()
    rig.driver.end_freeze(machine.uuid)
    assert time.monotonic() - began < 8
    assert power(rig, machine) is PowerState.RUNNING
    assert disks_of(rig, machine.uuid) == {"vda": "base", "vdb": "data"}
    again = "memory-again"
    rig.driver.upload(POOL, again, b"", "raw")
    rig.driver.freeze(machine.uuid, layers, memory=again)
    assert disks_of(rig, machine.uuid) == {"vda": "base-2", "vdb": "data-2"}
    assert power(rig, machine) is PowerState.RUNNING
