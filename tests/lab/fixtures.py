"""A real libvirt host of the tests' own: `from tests.lab.fixtures import lab_host` in a conftest makes it available."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.keys import SshKey

SCRIPT = Path(__file__).parents[2] / "deploy/lab/lab"


@dataclass(frozen=True)
class Lab:
    """Several hosts side by side, apart from the machine's own libvirt and from other labs; see the script `lab`."""

    id: str = field(default_factory=lambda: f"t{secrets.token_hex(2)}")

    @property
    def directory(self) -> Path:
        return Path("/var/tmp") / f"berth-{self.id}"

    def run(self, *arguments: str) -> str:
        """What the script prints; fails the test with its words where it does not succeed."""
        environment = {**os.environ, "LAB": str(self.directory), "LAB_ID": self.id}
        log = self.directory.with_suffix(".err")  # no pipe: the host's processes would keep it open
        with log.open("w+") as errors:
            done = subprocess.run(
                [SCRIPT, *arguments], env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=60
            )
            errors.seek(0)
            words = errors.read()
        log.unlink()
        if done.returncode != 0:
            pytest.fail(f"lab {' '.join(arguments)} failed (it needs root, libvirtd and QEMU): {words or done.stdout}")
        return done.stdout.strip()

    def up(self, count: int) -> list[LabHost]:
        self.run("up", str(count))
        return [LabHost(self, number) for number in range(1, count + 1)]

    def down(self) -> None:
        self.run("down")


@dataclass(frozen=True)
class LabHost:
    """One host. `uri` is its unix socket, `tcp_uri` how it is reached over the lab's network."""

    lab: Lab
    number: int

    @cached_property
    def uri(self) -> str:
        return self.lab.run("sock", str(self.number))

    @cached_property
    def tcp_uri(self) -> str:
        return self.lab.run("uri", str(self.number))

    @cached_property
    def netns(self) -> str:
        """For `ip netns exec`: the host's own network, with its bridges and guests."""
        return self.lab.run("netns", str(self.number))

    @property
    def libvirtd_pid(self) -> int:
        return int(self.lab.run("pid", str(self.number)))

    @property
    def directory(self) -> Path:
        """For pools of the host's own: the same path inside and outside."""
        return self.lab.directory / f"h{self.number}"

    def start_libvirtd(self) -> None:
        """After it was killed; the guests have lived on."""
        self.lab.run("start-libvirtd", str(self.number))

    @property
    def address(self) -> str:
        return urlsplit(self.tcp_uri).hostname or ""

    def inside(self, *command: str) -> None:
        """Run a command in the host's namespaces."""
        init = (self.directory / "pid").read_text().strip()
        subprocess.run(["nsenter", "--target", init, "--mount", "--uts", "--net", "--pid", *command], check=True)

    def start_sshd(self, own: SshKey, authorized: str) -> None:
        """A server of the host's own, with that host key, which lets the holder of `authorized` in as root."""
        place = self.directory / "ssh"
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's own empty directory
        place.mkdir(mode=0o700, exist_ok=True)
        for name, content in (("host_key", own.private), ("authorized_keys", authorized)):
            (place / name).write_text(content)
            (place / name).chmod(0o600)
        config = place / "sshd_config"
        config.write_text(
            f"ListenAddress {self.address}\nHostKey {place}/host_key\nAuthorizedKeysFile {place}/authorized_keys\n"
            f"PidFile {place}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        )
        self.inside("/usr/sbin/sshd", "-f", str(config))

    def stop_sshd(self) -> None:
        """The listening server; its number is that inside the host."""
        self.inside("kill", (self.directory / "ssh" / "pid").read_text().strip())

    def start_tls(self, certificate: str, key: str, authority: str) -> None:
        """Let libvirtd listen by TLS too, for whoever has a certificate of that CA."""
        place = self.directory / "tls"
        place.mkdir(mode=0o700, exist_ok=True)
        for name, content in (("cert", certificate), ("key", key), ("ca", authority)):
            (place / f"{name}.pem").write_text(content)
        config = self.directory / "etc" / "libvirtd.conf"
        lines = [
            line for line in config.read_text().splitlines() if not re.match(r"listen_tls|(key|cert|ca)_file", line)
        ]
        lines += ["listen_tls = 1", *(f'{name}_file = "{place}/{name}.pem"' for name in ("cert", "key", "ca"))]
        config.write_text("\n".join([*lines, ""]))
        self.restart_libvirtd()

    def restart_libvirtd(self) -> None:
        """Its guests live on."""
        old = self.libvirtd_pid
        os.kill(old, signal.SIGTERM)
        while Path(f"/proc/{old}").exists():
            time.sleep(0.05)
        self.start_libvirtd()

    def kill(self) -> None:
        """Power loss."""
        self.lab.run("kill-host", str(self.number))

    def start(self) -> None:
        """Power on; no effect where it is on."""
        self.lab.run("start-host", str(self.number))


@pytest.fixture(scope="session")
def lab_host() -> Iterator[LabHost]:
    """A running host. Whoever kills it starts it again."""
    lab = Lab()
    try:
        yield lab.up(1)[0]
    finally:
        lab.down()
