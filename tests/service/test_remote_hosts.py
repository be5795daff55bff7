"""Hosts that are reached by ssh and by TLS: every part of a real portal gets there, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets import Origin
from websockets.sync.client import connect

from tests.keys import Authority, SshKey
from tests.lab.fixtures import Lab, LabHost
from tests.stack import Stack, running, wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(900)]
OURS, THEIRS, AUTHORITY = SshKey(), SshKey(), Authority("Lab")
SECONDS = 300  # a check boots a guest, on a machine that may be busy


@pytest.fixture(scope="module")
def lab_hosts() -> Iterator[list[LabHost]]:
    """The portal's own, one with sshd, and one with TLS."""
    lab = Lab()
    try:
        hosts = lab.up(3)
        hosts[1].start_sshd(THEIRS, OURS.public)
        hosts[2].start_tls(*AUTHORITY.issue("server", hosts[2].address), AUTHORITY.certificate)
        yield hosts
    finally:
        lab.down()


@pytest.fixture(scope="module")
def portal(lab_hosts: list[LabHost], tiny_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    own, *_ = lab_hosts
    stack = Stack(tmp_path_factory.mktemp("portal"), own.uri, own.directory / "pool", tiny_image)
    with running(stack):
        stack.api("POST", "/hosts/local/actions/cordon", {}, user="admin")
        yield stack


def add(portal: Stack, name: str, uri: str, **access: str) -> dict[str, Any]:
    """Its check, when that has ended."""
    accepted = portal.accepted("POST", "/hosts", {"name": name, "uri": uri, **access}, user="admin")
    return portal.finished(accepted["operation"], SECONDS, user="admin")


def replace(portal: Stack, name: str, **access: str) -> dict[str, Any]:
    """Its check with another key, when that has ended."""
    answer = portal.api("PUT", f"/hosts/{name}/access", access, user="admin")
    assert answer.status_code == 200, answer.text
    (newest, *_) = portal.get(f"/operations?target={answer.json()['id']}", user="admin")["results"]
    return portal.finished(newest, SECONDS, user="admin")


def remove(portal: Stack, name: str) -> None:
    assert portal.api("DELETE", f"/hosts/{name}", user="admin").status_code == 204


def is_used(portal: Stack, name: str, machine: dict[str, Any]) -> None:
    """The worker has made a machine there, the observer sees it run, and the web process opens its serial console."""
    vm = portal.get(f"/vms/{machine['id']}", user="admin")
    assert (vm["status"], vm["host"]) == ("running", name)
    before = portal.get(f"/hosts/{name}", user="admin")["seen_at"]
    wait_until(lambda: portal.get(f"/hosts/{name}", user="admin")["seen_at"] > before, 60, "the observer's next look")


def opened(portal: Stack, vm: dict[str, Any], kind: str) -> bytes:
    """The first bytes of a console."""
    answer = portal.api("POST", f"/vms/{vm['id']}/console", {"kind": kind})
    assert answer.status_code == 201, answer.text
    url = portal.url.replace("http", "ws", 1) + answer.json()["url"]
    with connect(url, origin=Origin(portal.url)) as console:
        if kind == "serial":
            console.send(b"\n")
        return bytes(console.recv(60))


def secrets_in(place: Path) -> list[str]:
    """Files beside those for libvirt that have a private key of ours in them."""
    marks = [OURS.private.splitlines()[2].encode()]
    found = [path for path in place.rglob("*") if path.is_file() and "access" not in path.parts]
    return [str(path) for path in found if any(mark in path.read_bytes() for mark in marks)]


def test_by_ssh(portal: Stack, lab_hosts: list[LabHost]) -> None:
    uri = f"qemu+ssh://root@{lab_hosts[1].address}/system"
    strange = add(portal, "by-ssh", uri, ssh_key=OURS.private, host_keys=SshKey().public)
    assert (strange["status"], strange["error"]["code"]) == ("failed", "host_not_trusted")
    assert "another SSH host key" in strange["error"]["detail"]

    unknown = replace(portal, "by-ssh", ssh_key=SshKey().private, host_keys=THEIRS.public)
    assert "authorized_keys" in unknown["error"]["detail"]

    assert replace(portal, "by-ssh", ssh_key=OURS.private, host_keys=THEIRS.public)["status"] == "succeeded"
    told = portal.get("/hosts/by-ssh", user="admin")
    assert told["access"]["kind"] == "ssh"
    assert told["access"]["fingerprint"].startswith("ssh-ed25519 SHA256:")
    assert "PRIVATE" not in str(told)
    assert secrets_in(portal.data) == []

    vm = portal.create("over-ssh")
    try:
        is_used(portal, "by-ssh", vm)
        assert opened(portal, vm, "serial")
        assert opened(portal, vm, "display").startswith(b"RFB ")
    finally:
        portal.delete(vm)
        remove(portal, "by-ssh")


def test_by_tls(portal: Stack, lab_hosts: list[LabHost]) -> None:
    uri = f"qemu+tls://{lab_hosts[2].address}/system"
    strange = add(portal, "by-tls", uri, **Authority("Strange").access())
    assert (strange["status"], strange["error"]["code"]) == ("failed", "host_not_trusted")
    assert "not of the CA" in strange["error"]["detail"]

    ours, stranger = AUTHORITY.certificate, Authority("Stranger")
    both = {**stranger.access(), "ca_certificate": f"{ours}{stranger.certificate}"}
    refused = replace(portal, "by-tls", **both)
    assert "refused the client certificate" in refused["error"]["detail"]

    assert replace(portal, "by-tls", **AUTHORITY.access())["status"] == "succeeded"
    told = portal.get("/hosts/by-tls", user="admin")
    assert told["access"]["kind"] == "tls"
    assert told["access"]["expires_at"]

    vm = portal.create("over-tls")
    try:
        is_used(portal, "by-tls", vm)
        assert opened(portal, vm, "serial")
    finally:
        portal.delete(vm)
        remove(portal, "by-tls")
