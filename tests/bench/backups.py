"""What an incremental backup reads and writes, against what was changed.

    .venv/bin/python -m tests.bench.backups [--disk-mib 1024]

A domain on real QEMU, a full backup, then for each amount: so much is written, scattered over the disk in pieces of
64 KiB, and backed up. `read_bytes` is what QEMU took from the disk, by the kernel's count of its process; `file_bytes`
what the backup's file takes. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from pathlib import Path

import libvirt
import libvirt_qemu

from hosts.driver import open_driver
from hosts.driver.base import Driver
from hosts.driver.types import BackupDiskSpec, BackupSpec, DomainSpec
from tests.driver.guests import guest
from tests.driver.rig import POOL
from tests.lab.fixtures import Lab, LabHost

MIB, PIECE = 1 << 20, 64 << 10
TARGET = "backups"
CHANGED_MIB = (0, 1, 8, 64, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--disk-mib", type=int, default=1024)
    disk_mib = parser.parse_args().disk_mib
    lab = Lab()
    try:
        print(json.dumps(measure(lab.up(1)[0], disk_mib), indent=2))
    finally:
        lab.down()


def measure(host: LabHost, disk_mib: int) -> dict[str, object]:
    driver, spec = open_driver(host.uri), guest("disk")
    driver.ensure_pool(POOL, host.directory / "pool")
    driver.ensure_pool(TARGET, host.directory / "backups")
    made = driver.ensure_volume(POOL, "disk", disk_mib * MIB)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -P 1 0 {disk_mib // 2}M", made.path], check=True)
    driver.define(spec)
    driver.start(spec.uuid)
    rows, parent = [_backed_up(driver, spec, host, "full", "")], "full"
    for changed in CHANGED_MIB:
        _write(host.uri, spec, changed, disk_mib)
        rows.append({"changed_bytes": changed * MIB, **_backed_up(driver, spec, host, f"after-{changed}", parent)})
        parent = f"after-{changed}"
    driver.close()
    return {"disk_bytes": disk_mib * MIB, "rows": rows}


def _backed_up(driver: Driver, spec: DomainSpec, host: LabHost, name: str, parent: str) -> dict[str, object]:
    since = f"of-{parent}" if parent else ""
    wanted = BackupSpec(TARGET, (BackupDiskSpec("vda", name, parent),), f"of-{name}", since=since)
    before, begun = _read_bytes(spec), time.monotonic()
    while not driver.back_up(spec.uuid, wanted).is_complete:
        time.sleep(0.02)
    file = host.directory / "backups" / name
    taken = {"read_bytes": _read_bytes(spec) - before, "file_bytes": file.stat().st_blocks * 512}
    return {"kind": "incremental" if parent else "full", **taken, "seconds": round(time.monotonic() - begun, 2)}


def _read_bytes(spec: DomainSpec) -> int:
    """Past the page cache, so all that it reads comes from the disk."""
    pid = subprocess.check_output(["pgrep", "-f", f"guest={spec.name}"], text=True).split()[0]
    counts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(counts["read_bytes"])


def _write(uri: str, spec: DomainSpec, size_mib: int, disk_mib: int) -> None:
    """From outside, as the guest would."""
    connect = libvirt.open(uri)
    domain = connect.lookupByUUIDString(str(spec.uuid))
    pieces = size_mib * MIB // PIECE
    step = disk_mib * MIB // PIECE // max(pieces, 1)
    for number in range(pieces):
        command = f"write -P {number % 250 + 2} {number * step * PIECE} {PIECE}"
        device = "/machine/peripheral/virtio-disk0/virtio-backend"
        libvirt_qemu.qemuMonitorCommand(domain, f'qemu-io -d {device} "{command}"', 1)
    connect.close()


if __name__ == "__main__":
    main()
