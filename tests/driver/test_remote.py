"""A host that is reached by ssh and by TLS: who it must be, whom it lets in, and what goes over it."""

from __future__ import annotations

import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from hosts.access import access_in
from hosts.access_files import uri_with, write
from hosts.driver import errors, open_driver
from hosts.driver.base import Driver
from hosts.driver.types import Accelerator, DiskSpec, DomainSpec, HostFacts
from tests.driver.conftest import lab_host
from tests.driver.guests import read
from tests.keys import Authority, SshKey
from tests.lab.fixtures import LabHost
from tests.stack import wait_until

__all__ = ["lab_host"]

OURS, THEIRS, AUTHORITY = SshKey(), SshKey(), Authority("Lab")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def remote(lab_host: LabHost) -> Iterator[LabHost]:
    lab_host.start_sshd(THEIRS, OURS.public)
    lab_host.start_tls(*AUTHORITY.issue("server", lab_host.address), AUTHORITY.certificate)
    yield lab_host
    lab_host.stop_sshd()


def reached(uri: str, directory: Path, **access: str) -> Driver:
    """With keys or certificates as the form takes them."""
    found = access_in(**access)
    assert found is not None
    place = directory / f"access {uuid4().hex}"
    place.mkdir()
    write(place, found, place)
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()} == {0o600}
    return open_driver(uri_with(uri, place))


def by_ssh(remote: LabHost, directory: Path, **access: str) -> Driver:
    own = {"ssh_key": OURS.private, "host_keys": THEIRS.public}
    return reached(f"qemu+ssh://root@{remote.address}/system", directory, **{**own, **access})


def by_tls(remote: LabHost, directory: Path, **access: str) -> Driver:
    return reached(f"qemu+tls://{remote.address}/system", directory, **access)


def facts(driver: Driver) -> HostFacts:
    """However long a busy machine takes to let us in."""
    for _ in range(9):
        with suppress(errors.Timeout):
            return driver.facts()
    return driver.facts()


def test_ssh_with_the_pinned_key(remote: LabHost, tmp_path: Path) -> None:
    driver = by_ssh(remote, tmp_path)
    assert facts(driver).hostname == f"h{remote.number}"
    driver.close()


@pytest.mark.parametrize(
    ("access", "words"),
    [
        ({"host_keys": SshKey().public}, "another SSH host key"),
        ({"ssh_key": SshKey().private}, "authorized_keys"),
    ],
)
def test_ssh_with_another_key(remote: LabHost, tmp_path: Path, access: dict[str, str], words: str) -> None:
    with pytest.raises(errors.NotTrusted, match=words):
        facts(by_ssh(remote, tmp_path, **access))


def test_tls_with_certificates_of_the_same_authority(remote: LabHost, tmp_path: Path) -> None:
    driver = by_tls(remote, tmp_path, **AUTHORITY.access())
    assert facts(driver).hostname == f"h{remote.number}"
    driver.close()


def test_tls_with_those_of_another(remote: LabHost, tmp_path: Path) -> None:
    stranger = Authority("Stranger")
    with pytest.raises(errors.NotTrusted, match="not of the CA"):
        facts(by_tls(remote, tmp_path, **stranger.access()))
    both = {**stranger.access(), "ca_certificate": AUTHORITY.certificate + stranger.certificate}
    with pytest.raises(errors.NotTrusted, match="refused the client certificate"):
        facts(by_tls(remote, tmp_path, **both))


def test_nobody_listens(remote: LabHost, tmp_path: Path) -> None:
    """Which is another thing than not to be trusted, and may pass."""
    for uri, access in (
        (f"qemu+ssh://root@{remote.address}:2/system", {"ssh_key": OURS.private, "host_keys": THEIRS.public}),
        (f"qemu+tls://{remote.address}:2/system", AUTHORITY.access()),
    ):
        with pytest.raises(errors.Unreachable) as refusal:
            facts(reached(uri, tmp_path, **access))
        assert not isinstance(refusal.value, errors.NotTrusted)


def echoed(serial: socket.socket) -> bool:
    """Whether the guest says what is typed, once it has booted."""
    for _ in range(120):
        serial.sendall(b"x")
        if read(serial, 1, 1):
            return True
    return False


@pytest.mark.parametrize("reach", [by_ssh, by_tls])
def test_events_streams_and_displays(remote: LabHost, tmp_path: Path, echo_image: Path, reach: Any) -> None:
    driver: Driver = reach(remote, tmp_path, **(AUTHORITY.access() if reach is by_tls else {}))
    facts(driver)
    driver.ensure_pool("remote", remote.directory / "remote")
    driver.upload("remote", "echo", echo_image, "qcow2")
    spec = DomainSpec(
        uuid=uuid4(),
        name=f"berth-{uuid4().hex[:8]}",
        title="",
        vcpus=1,
        memory_mib=32,
        accelerator=Accelerator.TCG,
        cpu_model="qemu64",
        disks=(DiskSpec("remote", "echo", "vda"),),
    )
    started = threading.Event()
    stop = driver.watch(lambda event: started.set() if event.uuid == spec.uuid else None, lambda: None)
    try:
        driver.define(spec)
        driver.start(spec.uuid)
        assert started.wait(30)
        with driver.open_serial(spec.uuid) as serial:
            assert echoed(serial)
        if reach is by_ssh:
            with driver.open_display(spec.uuid) as display:
                display.settimeout(30)
                assert display.recv(4) == b"RFB "
        else:
            with pytest.raises(errors.Unsupported):
                driver.open_display(spec.uuid)
    finally:
        stop()
        driver.destroy(spec.uuid)
        driver.undefine(spec.uuid)
        driver.delete_volume("remote", "echo")
        driver.delete_pool("remote")
        driver.close()


def test_a_display_leaves_no_ssh_behind(remote: LabHost) -> None:
    """What it runs on the host is over some seconds after the display."""
    command = ["pgrep", "-f", f"^ssh .*{remote.address} sleep"]
    wait_until(lambda: subprocess.run(command, capture_output=True).returncode == 1, 60, "the end of ssh")
