"""A real libvirt host of the tests' own: `from tests.lab.fixtures import lab_host` in a conftest makes it available."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

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

    @property
    def uri(self) -> str:
        return self.lab.run("sock", str(self.number))

    @property
    def tcp_uri(self) -> str:
        return self.lab.run("uri", str(self.number))

    @property
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
