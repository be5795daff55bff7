"""Snapshots on real QEMU: what the guest had written then is what it reads again, and nothing else goes amiss."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.host import Host
from tests.service.test_backups import AGENT, LISTEN, Guest, made_volume, plug, written
from tests.stack import Stack, wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(1500)]

BOOT = "cat /proc/sys/kernel/random/boot_id; exit\n"


@pytest.fixture
def guest(stack: Stack, host: Host) -> Iterator[Guest]:
    guest = Guest(stack, host, stack.create(user_data=LISTEN))
    yield guest
    stack.delete(guest.vm)


def take(guest: Guest, name: str, **body: Any) -> dict[str, Any]:
    accepted = guest.stack.succeeded("POST", f"/vms/{guest.vm['id']}/snapshots", {"name": name, **body})
    return dict(guest.stack.get(f"/snapshots/{accepted['snapshot']['id']}"))


def revert(guest: Guest, snapshot: dict[str, Any], **body: Any) -> None:
    guest.stack.succeeded("POST", f"/snapshots/{snapshot['id']}/actions/revert", body)


def delete(guest: Guest, snapshot: dict[str, Any]) -> None:
    guest.stack.succeeded("DELETE", f"/snapshots/{snapshot['id']}")


def act(guest: Guest, action: str) -> None:
    guest.stack.succeeded("POST", f"/vms/{guest.vm['id']}/actions/{action}", {})


def settled(guest: Guest) -> None:
    """What a return discards is cleared up by an operation of its own."""
    wait_until(lambda: guest.stack.get(f"/vms/{guest.vm['id']}")["operation"] is None, 120, "the end of a clear-up")


def read(guest: Guest, scratch: Path) -> str:
    """The SHA-256 of the file on its disk, for which it is forced off: it listens after its first boot alone."""
    settled(guest)
    if status(guest) != "stopped":
        act(guest, "force-off")
    return written(guest.host, guest.vm["id"], "data", scratch)


def status(guest: Guest) -> str:
    return str(guest.stack.get(f"/vms/{guest.vm['id']}")["status"])


def everything(guest: Guest) -> list[dict[str, Any]]:
    return list(guest.stack.get(f"/vms/{guest.vm['id']}/snapshots")["results"])


def depth(guest: Guest) -> int:
    """Of how many files the disk is, the image left out."""
    return len(guest.host.chain(guest.vm["id"]))


def test_a_running_guest_reads_again_what_it_had_written(stack: Stack, guest: Guest, tmp_path: Path) -> None:
    """Two snapshots of it as it runs, back to the first and to what was before, then deletes under it and beside it."""
    sums = []
    for name, size_kib in (("one", 3000), ("two", 2000), ("", 1000)):
        guest.write("data", size_kib)
        sums.append(guest.sums["data"])
        if name:
            taken = take(guest, name, description="before a change")
            assert (taken["status"], taken["consistency"], taken["current"]) == ("ready", "crash", True)
            assert taken["size_gib"] == 1
    assert len(set(sums)) == 3
    one, two = (next(each for each in everything(guest) if each["name"] == name) for name in ("one", "two"))
    revert(guest, one, safety=True)
    assert status(guest) == "running"
    assert read(guest, tmp_path) == sums[0]
    safety = next(each for each in everything(guest) if each["safety"])
    assert (safety["parent"], stack.get(f"/snapshots/{one['id']}")["current"]) == (two["id"], True)
    revert(guest, safety)
    assert (status(guest), read(guest, tmp_path)) == ("stopped", sums[2])
    act(guest, "start")
    delete(guest, two)  # in the middle, under a guest that runs
    assert read(guest, tmp_path) == sums[2]
    revert(guest, one)
    assert read(guest, tmp_path) == sums[0]
    delete(guest, one)  # below a branch
    revert(guest, safety)
    assert read(guest, tmp_path) == sums[2]
    act(guest, "start")
    delete(guest, safety)
    assert everything(guest) == []
    assert read(guest, tmp_path) == sums[2]
    wait_until(lambda: depth(guest) == 1, 120, "one file that is left")
    assert guest.host.helpers() == []


def test_with_its_memory_it_goes_on_where_it_was(guest: Guest) -> None:
    """With a volume that was plugged in while it ran, which the guest finds where it was."""
    guest.write("data", 1000)
    volume = made_volume(guest.stack, "plugged")
    plug(guest, volume, "attach")
    before, boot = guest.sums["data"], guest.run(BOOT)
    snapshot = take(guest, "running", memory=True)
    assert (snapshot["memory"], snapshot["consistency"]) == (True, "memory")
    assert guest.run(BOOT) == boot
    guest.write("data", 2000)
    act(guest, "force-off")
    revert(guest, snapshot)
    assert status(guest) == "running"
    wait_until(lambda: guest.run("echo here; exit\n") == "here\n", 60, "a guest that goes on")
    assert guest.run(BOOT) == boot
    assert guest.run("sha256sum /root/data; exit\n").split()[0] == before
    settled(guest)
    delete(guest, snapshot)
    assert guest.run("sha256sum /root/data; exit\n").split()[0] == before
    assert not [name for name in guest.host.volumes() if name.endswith(".memory")]
    assert guest.run("head -c 4096 /dev/zero | dd of=/dev/vdb conv=fsync 2>/dev/null; echo $?; exit\n") == "0\n"
    settled(guest)
    plug(guest, volume, "detach")
    guest.stack.succeeded("DELETE", f"/volumes/{volume}")


def test_of_one_that_is_off_the_bytes_are_the_same(guest: Guest) -> None:
    act(guest, "force-off")
    disk = guest.host.pool_path / guest.host.root_volume(guest.vm["id"])
    io = ["qemu-io", "-f", "qcow2"]
    subprocess.run([*io, "-c", "write -P 77 700M 8M", disk], check=True, capture_output=True)
    before, sum_before = content(disk), checksum(disk)
    snapshot = take(guest, "off")
    assert snapshot["consistency"] == "off"
    top = guest.host.pool_path / guest.host.root_volume(guest.vm["id"])
    assert top != disk
    subprocess.run([*io, "-c", "write -P 78 700M 16M", top], check=True, capture_output=True)
    assert content(top) != before
    assert checksum(disk) == sum_before
    revert(guest, snapshot)
    assert status(guest) == "stopped"
    assert content(guest.host.pool_path / guest.host.root_volume(guest.vm["id"])) == before
    wait_until(lambda: not top.exists(), 60, "what was discarded to be gone")
    settled(guest)
    delete(guest, snapshot)
    assert content(guest.host.pool_path / guest.host.root_volume(guest.vm["id"])) == before
    assert depth(guest) == 1


def test_an_agent_makes_file_systems_whole_first(stack: Stack, host: Host) -> None:
    guest = Guest(stack, host, stack.create(user_data=AGENT))
    try:
        guest.write("data", 100)
        agent = "org.qemu.guest_agent.0' state='connected'"
        wait_until(lambda: agent in host.virsh("dumpxml", guest.vm["id"]), 60, "an agent")
        assert take(guest, "whole")["consistency"] == "frozen"
        assert guest.run("cat /root/agent; exit\n").split()[-2:] == ["freeze", "thaw"]
    finally:
        stack.delete(guest.vm)


def content(disk: Path) -> str:
    """The SHA-256 of what a guest would read."""
    raw = disk.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk, raw], check=True)
    found = checksum(raw)
    raw.unlink()
    return found


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
