"""Clones of machines that have written data: the same bytes, and nothing else that would tell them from strangers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.service.host import Host
from tests.stack import Stack, wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]
BOOT_SECONDS = 240
DATA = "sha256sum /root/data"
BOOT = "cat /proc/sys/kernel/random/boot_id"
IDENTITY = ("hostname", "cat /etc/machine-id", "md5sum < /etc/dropbear/host_key")


@dataclass
class Inside:
    """A machine's guest, over SSH from within its host's network."""

    host: Host
    vm: dict[str, Any]
    key: Path

    def says(self, command: str) -> str:
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=10", "BatchMode=yes")
        ssh = ["ssh", "-i", self.key, *(word for option in options for word in ("-o", option))]
        line = [*self.host.inside, *ssh, f"root@{self.vm['addresses'][0]}", command]
        return subprocess.run(line, capture_output=True, text=True, timeout=60).stdout.strip()

    def is_up(self) -> None:
        wait_until(lambda: self.says("echo up") == "up", BOOT_SECONDS, f"SSH to {self.vm['name']}")

    def identity(self) -> list[str]:
        return [self.says(command) for command in IDENTITY]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@pytest.fixture(scope="module")
def written(stack: Stack, lab_host: Any, key: Path) -> Iterator[tuple[Inside, str]]:
    """A machine that runs, and the hash of what was written to it."""
    host = Host(stack.libvirt_uri, stack.pool_path, lab_host.netns)
    guest = Inside(host, stack.create(ssh_keys=[key.with_suffix(".pub").read_text()]), key)
    guest.is_up()
    guest.says("dd if=/dev/urandom of=/root/data bs=1M count=8; sync")
    yield guest, guest.says(DATA)
    if stack.api("GET", f"/vms/{guest.vm['id']}").status_code == 200:
        stack.delete(guest.vm)


def clone(stack: Stack, source: Inside, mode: str) -> Inside:
    name = f"{mode}-{len(stack.get('/vms')['results'])}"
    accepted = stack.accepted("POST", f"/vms/{source.vm['id']}/actions/clone", {"name": name, "mode": mode})
    operation = stack.finished(accepted["operation"], seconds=180)
    assert operation["status"] == "succeeded", operation
    return Inside(source.host, accepted["vm"], source.key)


def act(stack: Stack, guest: Inside, action: str) -> None:
    stack.succeeded("POST", f"/vms/{guest.vm['id']}/actions/{action}", {})


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_the_same_data_and_another_identity(stack: Stack, host: Host, written: tuple[Inside, str], state: str) -> None:
    """A clone of either mode, both of one source that runs or is off; the three of them boot at a time."""
    source, before = written
    if state == "stopped":
        act(stack, source, "force-off")
    twins = {mode: clone(stack, source, mode) for mode in ("linked", "full")}
    assert host.state(source.vm["id"]) == {"running": "running", "stopped": "shut off"}[state]
    if state == "stopped":
        act(stack, source, "start")
    for mode, twin in twins.items():
        twin.is_up()
        assert twin.says(DATA) == before
        assert twin.vm["nics"][0]["mac"] != source.vm["nics"][0]["mac"]
        assert bool(host.backing(host.root_volume(twin.vm["id"]))) is (mode == "linked")
    source.is_up()
    assert source.says(DATA) == before
    everybody = [source, *twins.values()]
    for facts in zip(*(each.identity() for each in everybody), strict=True):
        assert all(facts), facts
        assert len(set(facts)) == len(everybody), facts
    for each in everybody:
        each.says(f"echo of {each.vm['name']} > /root/note; sync")
    assert [each.says("cat /root/note") for each in everybody] == [f"of {each.vm['name']}" for each in everybody]
    for twin in twins.values():
        stack.delete(twin.vm)
    assert source.says(DATA) == before


def test_a_linked_clone_outlives_its_source(stack: Stack, host: Host, written: tuple[Inside, str]) -> None:
    """And starts anew on what both stood on."""
    first, before = written
    source = clone(stack, first, "full")
    twin = clone(stack, source, "linked")
    own = {*host.chain(source.vm["id"]), *host.chain(twin.vm["id"])}
    assert len(own) == 3, "what each writes to, and what both stand on"
    stack.delete(source.vm)
    act(stack, twin, "force-off")
    act(stack, twin, "start")
    twin.is_up()
    assert twin.says(DATA) == before
    stack.delete(twin.vm)
    wait_until(lambda: not own & host.volumes(), 90, "the end of what both stood on")


def test_a_machine_that_runs_becomes_an_image(stack: Stack, host: Host, written: tuple[Inside, str]) -> None:
    """Its guest is not switched off for it, and what it had written is in the image."""
    source, before = written
    source.is_up()
    boot = source.says(BOOT)
    assert boot
    accepted = stack.accepted("POST", f"/vms/{source.vm['id']}/actions/publish", {"name": "Of one that runs"})
    operation = stack.finished(accepted["operation"], seconds=180)
    assert operation["status"] == "succeeded", operation
    assert host.state(source.vm["id"]) == "running"
    assert (source.says(BOOT), source.says(DATA)) == (boot, before)
    image = stack.get(f"/images/{accepted['image']['id']}")
    assert host.copiers() == []
    assert f"{image['id']}.qcow2" not in host.volumes()
    keys = [source.key.with_suffix(".pub").read_text()]
    twin = Inside(source.host, stack.create(image=image["slug"], ssh_keys=keys), source.key)
    twin.is_up()
    assert twin.says(DATA) == before
    stack.delete(twin.vm)
    stack.succeeded("DELETE", f"/images/{image['id']}")
