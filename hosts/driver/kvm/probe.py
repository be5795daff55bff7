"""Does an accelerator really run guests here? Only booting one tells: /dev/kvm may open and then hang what it runs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from uuid import UUID, uuid4

import libvirt

from hosts.driver import errors
from hosts.driver.kvm.connection import DEFAULT_SECONDS
from hosts.driver.kvm.domains import DomainCalls
from hosts.driver.kvm.events import EventCalls
from hosts.driver.kvm.storage import StorageCalls
from hosts.driver.types import (
    NO_CONTROLS,
    Accelerator,
    AcceleratorVerdict,
    Controls,
    DiskSpec,
    DomainEvent,
    DomainSpec,
    Tuning,
)
from hosts.driver.xml import parse
from hosts.driver.xml.domain import domain_xml

SECTOR_BYTES = 512
DISK_BYTES = 1 << 20  # the firmware takes a disk of one sector for none
MEMORY_MIB = 32
# A guest that hangs does not outlive the process that waits for it.
_START = libvirt.VIR_DOMAIN_START_VALIDATE | libvirt.VIR_DOMAIN_START_AUTODESTROY | libvirt.VIR_DOMAIN_START_PAUSED
_LOCKED = Tuning(memory_limit_mib=1024, is_memory_locked=True)
_CPU_MODEL = {Accelerator.KVM: "host-model", Accelerator.TCG: "qemu64"}


def boot_disk(code: bytes) -> bytes:
    """A raw disk that a PC's firmware boots: it loads the first sector at 0x7C00 and jumps there, in 16-bit mode."""
    signature = b"\x55\xaa"
    sector = code.ljust(SECTOR_BYTES - len(signature), b"\0") + signature
    return sector.ljust(DISK_BYTES, b"\0")


POWER_OFF = boot_disk(
    b"\xba\x04\x06"  # mov dx, 0x604   the ACPI power control port of q35's chipset in QEMU
    b"\xb8\x00\x20"  # mov ax, 0x2000  sleep enable, with sleep type 0: soft off
    b"\xef"  # out dx, ax
    b"\xf4"  # hlt
)


class ProbeCalls(StorageCalls, DomainCalls, EventCalls):
    def probe_accelerator(self, accelerator: Accelerator, pool: str, deadline: float) -> AcceleratorVerdict:
        """The guest is a boot sector that powers the machine off; libvirt's event then says that the guest did it.

        Takes at most `deadline` for the guest, and some tens of seconds more where the host is slow to end a hung one.
        """
        return self.probe_with(POWER_OFF, accelerator, pool, deadline)

    def probe_with(self, disk: bytes, accelerator: Accelerator, pool: str, deadline: float) -> AcceleratorVerdict:
        name = f"berth-preflight-{secrets.token_hex(4)}"
        spec = DomainSpec(
            uuid=uuid4(),
            name=name,
            title="",
            vcpus=1,
            memory_mib=MEMORY_MIB,
            accelerator=accelerator,
            cpu_model=_CPU_MODEL[accelerator],
            disks=(DiskSpec(pool, name, "vda", format="raw"),),
        )
        begun, since = time.monotonic(), time.time()
        self.upload(pool, name, disk, "raw")
        try:
            ahead = self._clock_offset(pool, name, since)
            problem, controls = self._run_guest(spec, deadline)
        finally:
            with suppress(errors.DriverError):
                self.destroy(spec.uuid)
            self.delete_volume(pool, name)
        return AcceleratorVerdict(
            accelerator, not problem, round(time.monotonic() - begun, 2), problem, controls, ahead
        )

    def _clock_offset(self, pool: str, volume: str, since: float) -> float | None:
        """How far the time at which the host wrote a volume lies outside of that in which we had it written."""
        at = self._connection.call(lambda connect: parse.volume_modified_at(_volume(connect, pool, volume)))
        if at is None:
            return None
        return round(max(at.timestamp() - time.time(), 0) + min(at.timestamp() - since, 0), 2)

    def _run_guest(self, spec: DomainSpec, deadline: float) -> tuple[str, Controls]:
        """What went wrong, "" for nothing; and what it could be held to."""
        with self._ending_of(spec.uuid) as wait_for_end:
            try:
                controls = self._connection.call(
                    lambda connect: _begin(connect, spec), seconds=deadline + DEFAULT_SECONDS
                )
            except (errors.Unreachable, errors.NotFound):
                raise
            except errors.DriverError as error:
                return f"the guest did not start: {error}", NO_CONTROLS
            reason = wait_for_end(deadline)
        if reason == "shutdown":
            return "", controls
        if reason is None:
            return f"the guest did not run within {deadline:g} s although it started", controls
        return f"the guest ended otherwise than by itself: {reason}", controls

    @contextmanager
    def _ending_of(self, uuid: UUID) -> Iterator[Callable[[float], str | None]]:
        """A function that waits some seconds for the domain to stop and tells why it did; None when it did not."""
        endings: SimpleQueue[str] = SimpleQueue()

        def note(event: DomainEvent) -> None:
            if event.uuid == uuid and event.reason in ("shutdown", "crashed", "failed", "destroyed"):
                endings.put(event.reason)

        def wait(seconds: float) -> str | None:
            try:
                return endings.get(timeout=seconds)
            except Empty:
                return None

        stop = self.watch(note, lambda: endings.put("the connection broke"))
        try:
            yield wait
        finally:
            stop()


def _volume(connect: libvirt.virConnect, pool: str, name: str) -> str:
    return str(connect.storagePoolLookupByName(pool).storageVolLookupByName(name).XMLDesc())


def _begin(connect: libvirt.virConnect, spec: DomainSpec) -> Controls:
    """Asked before it runs an instruction: a moment later it may be gone."""
    domain, is_locked = _create(connect, spec)
    controls = replace(_controls(domain), can_lock_memory=is_locked)
    domain.resume()
    return controls


def _create(connect: libvirt.virConnect, spec: DomainSpec) -> tuple[libvirt.virDomain, bool]:
    """With its memory locked, where the host allows that. Emulation is not tried: it would lock a GiB for its code."""
    if spec.accelerator is Accelerator.KVM:
        with suppress(libvirt.libvirtError):
            return connect.createXML(domain_xml(replace(spec, tuning=_LOCKED)), _START), True
    return connect.createXML(domain_xml(spec), _START), False


def _controls(domain: libvirt.virDomain) -> Controls:
    """What libvirt can tell of a guest's weights it can also set; it refuses where the kernel has no such control."""
    cpu: dict[str, int] = {}
    disk: dict[str, int] = {}
    with suppress(libvirt.libvirtError):
        cpu = domain.schedulerParameters()
    with suppress(libvirt.libvirtError):
        disk = domain.blkioParameters(libvirt.VIR_DOMAIN_AFFECT_LIVE)
    return Controls(cpu.get("cpu_shares", 0), disk.get("weight", 0), "vcpu_quota" in cpu)
