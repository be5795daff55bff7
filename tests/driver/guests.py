"""A guest of 33 bytes, and disks to boot it from."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from uuid import uuid4

from hosts.driver.types import Accelerator, DiskSpec, DomainSpec
from tests.driver.rig import POOL

# Echoes its serial port and obeys the power key, 18 times a second.
ECHO = bytes.fromhex(
    "fb"  # 00       sti              let the timer wake us
    "ba0206 b80001 ef"  # 01          out 0x602, 0x100: enable the power key in ACPI's PM1 event register
    "f4"  # 08 loop: hlt              until the next tick
    "bafd03 ec"  # 09 read: in 0x3fd  the serial port's line status
    "a801 7407"  # 0d                 nothing there: to key
    "baf803 ec ee"  # 11              in 0x3f8, out 0x3f8: echo one byte
    "ebf1"  # 16                      to read
    "ba0006 ed"  # 18 key: in 0x600   ACPI's PM1 status
    "f6c401 74e7"  # 1c               not pressed: to loop
    "ba0406 b80020 ef"  # 21          out 0x604, 0x2000: power off
    "f4"  # 28
)


def qcow2(directory: Path, raw: bytes) -> Path:
    """`raw` as a qcow2 file."""
    source, target = directory / f"{uuid4()}.raw", directory / f"{uuid4()}.qcow2"
    source.write_bytes(raw)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", source, target], check=True)
    return target


def guest(volume: str | None = None, **changes: object) -> DomainSpec:
    uuid = uuid4()
    values: dict[str, object] = {
        "uuid": uuid,
        "name": f"berth-{uuid}",
        "title": "A guest",
        "vcpus": 1,
        "memory_mib": 32,
        "accelerator": Accelerator.TCG,
        "cpu_model": "qemu64",
        "disks": (DiskSpec(POOL, volume, "vda"),) if volume else (),
    }
    return DomainSpec(**{**values, **changes})  # type: ignore[arg-type]


def read(connection: socket.socket, size: int, seconds: float = 5) -> bytes:
    """The next `size` bytes, or fewer where no more come in time."""
    connection.settimeout(seconds)
    data = b""
    while len(data) < size:
        try:
            part = connection.recv(size - len(data))
        except TimeoutError:
            break
        if not part:
            break
        data += part
    return data


def wait_for_echo(serial: socket.socket, seconds: float = 20) -> None:
    """Until the guest runs: what is sent while the firmware still works is lost."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        serial.sendall(b"?")
        if read(serial, 1, seconds=0.3) == b"?":
            while read(serial, 1, seconds=0.3):  # the echoes of earlier tries
                pass
            return
    raise AssertionError(f"the guest did not echo within {seconds} s")
