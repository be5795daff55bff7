"""Volumes with real guests that write known data to them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.console import Console
from tests.service.guest import root_console
from tests.service.host import Host
from tests.stack import Stack

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]
GIB, MIB = 1024**3, 1024**2
FAST = "fast"


@pytest.fixture(scope="module")
def fast(stack: Stack) -> Iterator[str]:
    """A storage class with limits, over a second directory pool."""
    limits = {"read_iops": 800, "write_iops": 700, "read_mib_s": 60, "write_mib_s": 50}
    made = stack.api("POST", "/storage-classes", {"slug": FAST, "name": "Fast", **limits}, user="admin")
    assert made.status_code == 201, made.text
    body = {"name": FAST, "storage_class": FAST, "path": str(stack.pool_path.parent / FAST)}
    pool = stack.succeeded("POST", "/hosts/local/pools", body, user="admin")["pool"]
    shown = stack.get(f"/hosts/local/pools/{pool['name']}", user="admin")
    assert shown["takes_disks"]
    assert shown["capacity_bytes"] > shown["available_bytes"] > 0
    yield FAST
    stack.succeeded("DELETE", f"/hosts/local/pools/{FAST}", user="admin")


@pytest.fixture(scope="module")
def machines(stack: Stack) -> Iterator[list[dict[str, Any]]]:
    made = [stack.create(f"disks-{number}") for number in (1, 2)]
    yield made
    for vm in made:
        stack.delete(vm)


@pytest.fixture(autouse=True)
def no_volume_is_left(stack: Stack) -> Iterator[None]:
    """Whatever became of the test before."""
    yield
    for left in stack.get("/volumes?tenant=demo")["results"]:
        if not left["boot"]:
            delete(stack, left)


def at_console(stack: Stack, vm: dict[str, Any]) -> AbstractContextManager[Console]:
    """Root in the guest."""
    return root_console(stack.libvirt_uri, vm["id"])


def volume(stack: Stack, **body: Any) -> dict[str, Any]:
    made = stack.succeeded("POST", "/volumes", {"name": "data", "size_gib": 1, "tenant": "demo", **body})
    return dict(stack.get(f"/volumes/{made['volume']['id']}"))


def act(stack: Stack, volume: dict[str, Any], action: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    stack.succeeded("POST", f"/volumes/{volume['id']}/actions/{action}", body or {})
    return dict(stack.get(f"/volumes/{volume['id']}"))


def delete(stack: Stack, volume: dict[str, Any]) -> None:
    if volume["vm"]:
        act(stack, volume, "detach")
    stack.succeeded("DELETE", f"/volumes/{volume['id']}")


def test_data_goes_from_machine_to_machine(stack: Stack, machines: list[dict[str, Any]]) -> None:
    """Attached while both run: found by its serial, written, let go of, and read by the other one."""
    one, two = machines
    data = volume(stack, vm=one["name"])
    serial = data["device"].removeprefix("/dev/disk/by-id/virtio-")
    with at_console(stack, one) as guest:
        assert guest.command("cat /sys/block/vdb/serial") == serial
        assert guest.command("blockdev --getsize64 /dev/vdb") == str(GIB)
        guest.command("dd if=/dev/urandom of=/dev/vdb bs=1M count=24 seek=100 2>/dev/null; sync", 60)
        before = guest.command("dd if=/dev/vdb bs=1M count=24 skip=100 2>/dev/null | sha256sum", 60)
    data = act(stack, data, "detach")
    assert (data["status"], data["vm"]) == ("available", None)
    with at_console(stack, one) as guest:
        assert guest.command("ls /sys/block | grep -c vdb") == "0"
    data = act(stack, data, "attach", {"vm": two["id"]})
    with at_console(stack, two) as guest:
        assert guest.command("cat /sys/block/vdb/serial") == serial
        assert guest.command("dd if=/dev/vdb bs=1M count=24 skip=100 2>/dev/null | sha256sum", 60) == before


def test_a_machine_that_is_off_has_it_at_its_next_start(stack: Stack, machines: list[dict[str, Any]]) -> None:
    vm = machines[0]
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/force-off", {})
    volume(stack, vm=vm["id"])
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/start", {})
    with at_console(stack, vm) as guest:
        assert guest.command("blockdev --getsize64 /dev/vdb") == str(GIB)


def test_it_grows_under_the_guest(stack: Stack, machines: list[dict[str, Any]]) -> None:
    """And so does the disk that the machine starts from."""
    vm = machines[0]
    data = volume(stack, vm=vm["id"])
    (boot,) = [each for each in stack.get(f"/volumes?vm={vm['id']}")["results"] if each["boot"]]
    with at_console(stack, vm) as guest:
        act(stack, data, "grow", {"size_gib": 3})
        act(stack, boot, "grow", {"size_gib": boot["size_gib"] + 2})
        assert guest.command("sleep 1; blockdev --getsize64 /dev/vdb") == str(3 * GIB)
        assert guest.command("blockdev --getsize64 /dev/vda") == str((boot["size_gib"] + 2) * GIB)
    assert stack.get(f"/vms/{vm['id']}")["disk_gib"] == boot["size_gib"] + 2


def test_it_moves_while_the_guest_writes(stack: Stack, machines: list[dict[str, Any]], host: Host, fast: str) -> None:
    """Between two directory pools; by the guest's own checksum nothing is lost, and the limits of the class hold."""
    vm = machines[0]
    data = volume(stack, vm=vm["id"])
    with at_console(stack, vm) as guest:
        guest.command("dd if=/dev/urandom of=/dev/vdb bs=1M count=16 2>/dev/null; sync", 90)
        before = guest.command("dd if=/dev/vdb bs=1M count=16 2>/dev/null | sha256sum", 60)
        guest.command(
            "rm -f /tmp/stop; (i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); echo $i > /tmp/count;"
            " yes line-$i | head -c 65536 | dd of=/dev/vdb bs=64k seek=$((1600+i%64)) conv=notrunc,fsync;"
            " done) > /dev/null 2>&1 & true"
        )
        first = int(guest.command("sleep 1; cat /tmp/count"))
        moved = act(stack, data, "move", {"storage_class": fast})
        last = int(guest.command("cat /tmp/count"))
        guest.command("touch /tmp/stop; sleep 2; sync", 30)
        count = int(guest.command("cat /tmp/count"))
        assert count >= last > first, "the guest stood still"
        written = guest.command(f"dd if=/dev/vdb bs=64k count=1 skip=$((1600+{count}%64)) 2>/dev/null | head -n 1")
        assert written == f"line-{count}"
        assert guest.command("dd if=/dev/vdb bs=1M count=16 2>/dev/null | sha256sum", 60) == before
    assert (moved["storage_class"], moved["vm"]["id"]) == (fast, vm["id"])
    words = host.virsh("blkdeviotune", vm["id"], "vdb")
    limits = dict(line.split(":") for line in words.replace(" ", "").splitlines() if ":" in line)
    assert (limits["read_iops_sec"], limits["write_iops_sec"]) == ("800", "700")
    assert (limits["read_bytes_sec"], limits["write_bytes_sec"]) == (str(60 * MIB), str(50 * MIB))
    assert len(list((stack.pool_path.parent / FAST).glob("*.qcow2"))) == 1
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/force-off", {})
    act(stack, moved, "move", {"storage_class": "standard"})
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/start", {})
    with at_console(stack, vm) as guest:
        assert guest.command("dd if=/dev/vdb bs=1M count=16 2>/dev/null | sha256sum", 60) == before
    assert list((stack.pool_path.parent / FAST).glob("*.qcow2")) == []


def test_the_disk_that_a_machine_starts_from_moves_under_it(
    stack: Stack, machines: list[dict[str, Any]], fast: str
) -> None:
    vm = machines[1]
    (boot,) = [each for each in stack.get(f"/volumes?vm={vm['id']}")["results"] if each["boot"]]
    with at_console(stack, vm) as guest:
        guest.command("dd if=/dev/urandom of=/root/known bs=1M count=16 2>/dev/null; sync", 60)
        before = guest.command("sha256sum /root/known", 60)
        act(stack, boot, "move", {"storage_class": fast})
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/force-off", {})
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/start", {})
    with at_console(stack, vm) as guest:
        assert guest.command("sha256sum /root/known", 60) == before
    act(stack, boot, "move", {"storage_class": "standard"})


def test_of_two_who_attach_it_one_has_it(stack: Stack, machines: list[dict[str, Any]], host: Host) -> None:
    data = volume(stack)
    path = f"/volumes/{data['id']}/actions/attach"
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda vm: stack.api("POST", path, {"vm": vm["id"]}), machines * 2))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    (accepted,) = [answer.json() for answer in answers if answer.status_code == 202]
    assert stack.finished(accepted["operation"])["status"] == "succeeded"
    serial = data["device"].rpartition("-")[2]
    holders = [vm["id"] for vm in machines if serial in host.virsh("dumpxml", vm["id"])]
    data = stack.get(f"/volumes/{data['id']}")
    assert holders == [data["vm"]["id"]]


def test_nothing_is_left_that_nobody_knows(stack: Stack, machines: list[dict[str, Any]]) -> None:
    import json
    import subprocess
    import sys

    from tests.stack import ROOT

    command = [sys.executable, "manage.py", "audit", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=stack.environment, capture_output=True, text=True)
    assert json.loads(done.stdout) == []
