"""A `tiny` guest on plain QEMU: its serial console, its ssh port, its monitor. For the tests of the image itself."""

from __future__ import annotations

import io
import socket
import subprocess
import time
from pathlib import Path

import pycdlib

PROMPT = "$ "
SEED_DRIVES = {
    "scsi": "-device virtio-scsi-pci -drive file={},format=raw,readonly=on,media=cdrom,if=none,id=seed"
    " -device scsi-cd,drive=seed",
    "virtio": "-drive file={},format=raw,readonly=on,if=virtio",
}
SSH_OPTIONS = (
    "-F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    " -o IdentitiesOnly=yes -o ConnectTimeout=20"
)


def write_seed(path: Path, files: dict[str, str]) -> Path:
    """A NoCloud seed at `path`: an ISO 9660 volume labelled `cidata`."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    for name, text in files.items():
        data = text.encode()
        short = name.upper().replace("-", "_")
        iso.add_fp(io.BytesIO(data), len(data), f"/{short}.;1", rr_name=name, joliet_path=f"/{name}")
    iso.write(str(path))
    iso.close()
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Guest:
    """Runs until `close`; `seed_drive` says how the seed is attached: "scsi" (a CD-ROM) or "virtio" (a disk)."""

    def __init__(self, disk: Path, seed: Path, work: Path, *, memory_mib: int = 80, seed_drive: str = "scsi") -> None:
        self.port = free_port()
        self.output = ""
        serial, monitor = work / "serial.sock", work / "monitor.sock"
        self.process = subprocess.Popen(
            [
                *("qemu-system-x86_64", "-machine", "q35,accel=tcg", "-m", str(memory_mib), "-nodefaults"),
                *("-display", "none", "-vga", "std", "-device", "virtio-rng-pci"),
                *("-drive", f"file={disk},if=virtio", *SEED_DRIVES[seed_drive].format(seed).split()),
                *("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22"),
                *("-device", "virtio-net-pci,netdev=net"),
                *("-serial", f"unix:{serial},server=on,wait=on", "-monitor", f"unix:{monitor},server=on,wait=off"),
            ]
        )
        self.serial = self._connect(serial)
        self.monitor = self._connect(monitor)

    def _connect(self, path: Path) -> socket.socket:
        deadline = time.monotonic() + 10
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(path))
            except OSError:
                connection.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return connection

    def wait_for(self, text: str, seconds: float = 60) -> str:
        """What the console said up to and with `text`, which must appear after what was read before."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            self.serial.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                data = self.serial.recv(4096)
            except TimeoutError:
                raise AssertionError(f"no {text!r} in {seconds} s; the console said:\n{self.output}") from None
            assert data, f"the guest ended before {text!r} appeared:\n{self.output}"
            self.output += data.decode(errors="replace")
        before, _, self.output = self.output.partition(text)
        return before + text

    def log_in(self) -> None:
        self.wait_for("login: ")
        self.serial.sendall(b"tiny\n")
        self.wait_for(PROMPT)

    def command(self, line: str, seconds: float = 20) -> str:
        """The output of one shell command typed at the console, without its echo."""
        self.serial.sendall(f"{line}; echo en''d-of-output\n".encode())
        said = self.wait_for("end-of-output", seconds).removesuffix("end-of-output")
        return said.rpartition("en''d-of-output")[2].replace("\r", "").strip()

    def ssh(self, key: Path, user: str, command: str) -> subprocess.CompletedProcess[str]:
        target = ["-i", str(key), "-p", str(self.port), f"{user}@127.0.0.1", command]
        arguments = ["ssh", *SSH_OPTIONS.split(), *target]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)

    def power_down(self, seconds: float = 15) -> float:
        """Presses the ACPI power button; returns the seconds until the guest was off."""
        started = time.monotonic()
        self.monitor.sendall(b"system_powerdown\n")
        self.process.wait(seconds)
        return time.monotonic() - started

    def close(self) -> None:
        for connection in (self.serial, self.monitor):
            connection.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
