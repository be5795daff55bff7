"""A `tiny` guest on plain QEMU: its serial console, its ssh port, its monitor. For the tests of the image itself."""

from __future__ import annotations

import io
import socket
import subprocess
import time
from pathlib import Path

import pycdlib

PROMPT = "$ "


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
        drive = f"file={seed},format=raw,readonly=on"
        seed_arguments = {
            "scsi": ["-drive", f"{drive},media=cdrom,if=none,id=seed", "-device", "virtio-scsi-pci", "-device", "scsi-cd,drive=seed"],
            "virtio": ["-drive", f"{drive},if=virtio"],
        }[seed_drive]
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-m", str(memory_mib), "-nodefaults", "-display", "none"]
            + ["-vga", "std", "-drive", f"file={disk},if=virtio", *seed_arguments]
            + ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22", "-device", "virtio-net-pci,netdev=net"]
            + ["-device", "virtio-rng-pci"]
            + ["-serial", f"unix:{serial},server=on,wait=on", "-monitor", f"unix:{monitor},server=on,wait=off"]
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
                raise AssertionError(f"{text!r} did not appear in {seconds} s; the console said:\n{self.output}") from None
            assert data, f"the guest ended before {text!r} appeared:\n{self.output}"
            self.output += data.decode(errors="replace")
        before, _, self.output = self.output.partition(text)
        return before + text

    def log_in(self) -> None:
        self.wait_for("login: ")
        self.serial.sendall(b"tiny\n")
        self.wait_for(PROMPT)

    def command(self, line: str, seconds: float = 20) -> str:
        """The output of one shell command typed at the console; a mark of its own ends it, whatever the prompt is."""
        self.serial.sendall(f"{line}; echo en''d-of-output\n".encode())
        self.wait_for("\n", seconds)
        return self.wait_for("end-of-output", seconds).removesuffix("end-of-output").replace("\r", "").strip()

    def ssh(self, key: Path, user: str, command: str, port: int | None = None) -> subprocess.CompletedProcess[str]:
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "ConnectTimeout=20"]
        flags = [flag for option in options for flag in ("-o", option)]
        arguments = ["ssh", "-F", "/dev/null", *flags, "-i", str(key), "-p", str(port or self.port), f"{user}@127.0.0.1", command]
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
