"""Backups on real QEMU: what a guest wrote is what a restore brings back, and what is damaged is never restored."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.lab.fixtures import LabHost
from tests.service.host import Host
from tests.stack import ROOT, Stack, wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(900)]

LISTEN = "#!/bin/sh\nwhile :; do nc -l -p 7777 -e /bin/sh; done >/dev/null 2>&1 </dev/null &\n"
# As much of qemu-guest-agent as a freeze needs; what it is asked for stands in /root/agent.
AGENT = (
    LISTEN
    + r"""
port=$(grep -l org.qemu.guest_agent.0 /sys/class/virtio-ports/*/name)
exec 3<>/dev/$(basename $(dirname $port))
while :; do
  read -r line <&3 || { sleep 1; continue; }  # the host connects once the port is open
  id=$(echo "$line" | sed -n 's/.*"id": *\([0-9]*\).*/\1/p')
  case $line in
    *guest-sync*) echo "{\"return\": $id}" >&3 ;;
    *freeze-freeze*) echo freeze >>/root/agent; sync; echo '{"return": 1}' >&3 ;;
    *freeze-thaw*) echo thaw >>/root/agent; echo '{"return": 1}' >&3 ;;
    *) echo '{"return": {}}' >&3 ;;
  esac
done >/dev/null 2>&1 &
"""
)
DIES_FROZEN = """
import os, signal, uuid
from hosts.driver import open_driver
from hosts.driver.kvm import backup
from hosts.driver.types import BackupDiskSpec, BackupSpec
backup._Backup._ask = lambda self, xml, checkpoint: os.kill(os.getpid(), signal.SIGKILL)
spec = BackupSpec({pool!r}, (BackupDiskSpec("vda", "dies.qcow2"),), "dies")
open_driver({uri!r}).back_up(uuid.UUID({vm!r}), spec)
"""
WRITE = "head -c {size}k /dev/urandom >/root/{name}; sync; sha256sum /root/{name}; exit\n"
SYSTEM_AT = 25 << 20  # where the image's second partition begins


@dataclass
class Guest:
    """A machine that obeys a port of its own, and what it has written by now."""

    stack: Stack
    host: Host
    vm: dict[str, Any]
    sums: dict[str, str] = field(default_factory=dict)

    def run(self, script: str, seconds: int = 80) -> str:
        """What it says; "" where it does not listen yet."""
        address = self.vm["addresses"][0]
        ask = (
            f"import socket, sys; s = socket.create_connection(('{address}', 7777), {seconds});"
            "s.sendall(sys.stdin.buffer.read());"
            "[sys.stdout.write(data.decode()) for data in iter(lambda: s.recv(4096), b'')]"
        )
        command = [*self.host.inside, "python3", "-c", ask]
        for _ in range(20):
            done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=400)
            if "refused" not in done.stderr:  # it listens anew after each script
                break
            time.sleep(0.5)
        return done.stdout

    def write(self, name: str, size_kib: int) -> None:
        wait_until(lambda: self.run("echo here; exit\n", 10) == "here\n", 400, "a guest that listens")
        self.sums[name] = self.run(WRITE.format(name=name, size=size_kib)).split()[0]
        assert len(self.sums[name]) == 64

    def back_up(self, **body: Any) -> dict[str, Any]:
        accepted = self.stack.succeeded("POST", f"/vms/{self.vm['id']}/backups", body)
        return {**self.stack.get(f"/backups/{accepted['backup']['id']}"), "holds": dict(self.sums)}


def written(host: Host, vm_id: str, name: str, scratch: Path) -> str:
    """The SHA-256 of a file on the disk of a machine that is off, as whoever mounts it would read it."""
    raw = scratch / "disk.raw"
    source = host.pool_path / host.root_volume(vm_id)
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", source, raw], check=True)
    subprocess.run(["/sbin/e2fsck", "-fy", f"{raw}?offset={SYSTEM_AT}"], capture_output=True)
    read = f"/sbin/debugfs -R 'cat /root/{name}' '{raw}?offset={SYSTEM_AT}' 2>/dev/null | sha256sum"
    found = subprocess.check_output(["sh", "-c", read], text=True).split()[0]
    raw.unlink()
    return found


@pytest.fixture(scope="module")
def target(stack: Stack, lab_host: LabHost) -> Path:
    path = lab_host.directory / "backups"
    body = {"slug": "nas", "name": "The NAS", "path": str(path)}
    stack.succeeded("POST", "/backup-targets", body, user="admin")
    found = stack.get("/backup-targets/nas", user="admin")
    assert [host["reached"] for host in found["hosts"]] == [True]
    assert found["hosts"][0]["capacity_bytes"] > 0
    return path


@pytest.fixture
def guest(stack: Stack, host: Host, target: Path) -> Iterator[Guest]:
    guest = Guest(stack, host, stack.create(user_data=LISTEN))
    yield guest
    if stack.api("GET", f"/vms/{guest.vm['id']}").status_code == 200:
        stack.delete(guest.vm)


def off(stack: Stack, vm_id: str) -> None:
    if stack.get(f"/vms/{vm_id}")["status"] != "stopped":
        stack.succeeded("POST", f"/vms/{vm_id}/actions/force-off")


def test_full_and_three_incrementals_are_each_restored(guest: Guest, tmp_path: Path) -> None:
    stack, vm_id = guest.stack, guest.vm["id"]
    points = []
    for number in range(4):
        guest.write("known", 512)
        guest.write(f"round-{number}", 256)
        points.append(guest.back_up())
    assert [point["kind"] for point in points] == ["full", *["incremental"] * 3]
    assert {point["consistency"] for point in points} == {"crash"}
    assert all(point["bytes_read"] < 24 << 20 for point in points[1:]), [point["bytes_read"] for point in points]
    for number in (2, 0, 3, 1):
        stack.succeeded("POST", f"/backups/{points[number]['id']}/actions/restore", {})
        off(stack, vm_id)
        for name, sha256 in points[number]["holds"].items():
            assert written(guest.host, vm_id, name, tmp_path) == sha256
        if number < 3:
            assert written(guest.host, vm_id, f"round-{number + 1}", tmp_path) != guest.sums[f"round-{number + 1}"]
    stack.succeeded("POST", f"/vms/{vm_id}/actions/start")
    after = guest.back_up()
    assert after["kind"] == "full"
    assert "Full, because" in after["why_full"]


def test_restored_to_a_new_machine_after_the_old_one_was_deleted(guest: Guest, tmp_path: Path) -> None:
    stack = guest.stack
    guest.write("known", 700)
    guest.back_up()
    guest.write("more", 300)
    last = guest.back_up()
    stack.delete(guest.vm)
    wait_until(lambda: stack.api("GET", f"/vms/{guest.vm['id']}").status_code == 404, 60, "its machine to be gone")
    left = stack.get(f"/backups/{last['id']}")
    assert left["vm"] is None
    assert not left["actions"]["restore"]["allowed"]
    body = {"name": f"t-{secrets.token_hex(4)}"}
    vm = stack.succeeded("POST", f"/backups/{last['id']}/actions/restore", body)["vm"]
    assert vm["name"] == body["name"]
    assert guest.host.state(vm["id"]) == "running"
    off(stack, vm["id"])
    for name, sha256 in last["holds"].items():
        assert written(guest.host, vm["id"], name, tmp_path) == sha256
    stack.delete(vm)


def test_one_that_is_off_is_backed_up_and_stays_off(guest: Guest, tmp_path: Path) -> None:
    stack, vm_id = guest.stack, guest.vm["id"]
    guest.write("known", 400)
    off(stack, vm_id)
    point = guest.back_up()
    assert point["consistency"] == "off"
    assert stack.get(f"/vms/{vm_id}")["status"] == "stopped"
    assert guest.host.state(vm_id) == "shut off"
    again = guest.back_up()
    assert (again["kind"], again["bytes_read"]) == ("incremental", 0)
    stack.succeeded("POST", f"/backups/{again['id']}/actions/restore", {})
    assert written(guest.host, vm_id, "known", tmp_path) == guest.sums["known"]
    assert guest.host.state(vm_id) == "shut off"


def test_damage_is_found_and_never_restored(guest: Guest, target: Path) -> None:
    stack, vm_id = guest.stack, guest.vm["id"]
    first, second = guest.back_up(), guest.back_up()
    stack.succeeded("POST", f"/backups/{second['id']}/actions/verify")
    assert stack.get(f"/backups/{second['id']}")["verified_at"]
    (file,) = first["disks"]
    path = next(path for path in target.iterdir() if path.stat().st_size == file["file_bytes"])
    with path.open("r+b") as content:
        content.seek(file["file_bytes"] // 2)
        byte = content.read(1)
        content.seek(-1, 1)
        content.write(bytes([byte[0] ^ 1]))
    before = guest.host.root_volume(vm_id)
    failed = stack.finished(stack.accepted("POST", f"/backups/{second['id']}/actions/restore", {})["operation"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "backup_damaged")
    assert "is not what was written" in failed["error"]["detail"]
    assert guest.host.root_volume(vm_id) == before
    assert guest.host.state(vm_id) == "running"
    refused = stack.api("POST", f"/backups/{second['id']}/actions/restore", {"name": "t-no"})
    assert (refused.status_code, refused.json()["code"]) == (409, "backup_damaged")
    with path.open("r+b") as content:
        content.seek(file["file_bytes"] // 2)
        content.write(byte)
    stack.succeeded("POST", f"/backups/{second['id']}/actions/verify")
    assert stack.get(f"/backups/{second['id']}")["damage"] == ""
    path.rename(path.with_suffix(".away"))
    try:
        failed = stack.finished(stack.accepted("POST", f"/backups/{second['id']}/actions/verify")["operation"])
        assert "is missing" in failed["error"]["detail"]
    finally:
        path.with_suffix(".away").rename(path)


def test_what_later_ones_need_is_handed_over(guest: Guest, target: Path, tmp_path: Path) -> None:
    stack, vm_id = guest.stack, guest.vm["id"]
    points = []
    for number in range(3):
        guest.write(f"round-{number}", 256)
        points.append(guest.back_up())
    stack.succeeded("DELETE", f"/backups/{points[1]['id']}")
    stack.succeeded("DELETE", f"/backups/{points[0]['id']}")
    last = stack.get(f"/backups/{points[2]['id']}")
    assert (last["kind"], last["parent"]) == ("full", None)
    stack.succeeded("POST", f"/backups/{last['id']}/actions/verify")
    stack.succeeded("POST", f"/backups/{last['id']}/actions/restore", {})
    off(stack, vm_id)
    for name, sha256 in guest.sums.items():
        assert written(guest.host, vm_id, name, tmp_path) == sha256
    assert "nas" not in stack.manage("audit")


def test_a_guest_with_an_agent_is_frozen_and_never_stays_so(stack: Stack, host: Host, target: Path) -> None:
    guest = Guest(stack, host, stack.create(user_data=AGENT))
    guest.write("known", 64)
    point = guest.back_up()
    assert point["consistency"] == "frozen"
    asked = guest.run("cat /root/agent; exit\n").split()
    assert asked[-2:] == ["freeze", "thaw"]  # a try that found no answer may have come before
    program = DIES_FROZEN.format(pool="berth-backup-nas", uri=stack.libvirt_uri, vm=guest.vm["id"])
    died = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=120)
    assert died.returncode == -signal.SIGKILL
    asked += ["freeze", "thaw"]
    wait_until(lambda: guest.run("cat /root/agent; exit\n").split() == asked, 30, "the guard's thaw")
    after = guest.back_up()
    assert (after["consistency"], after["kind"]) == ("frozen", "incremental")
    stack.delete(guest.vm)


def test_killed_in_the_middle(guest: Guest, target: Path, stack: Stack) -> None:
    """No partial file stays, and the chain is whole."""
    first = guest.back_up()
    guest.write("much", 8 * 1024)
    before = {path.name for path in target.iterdir()}
    accepted = stack.accepted("POST", f"/vms/{guest.vm['id']}/backups")
    wait_until(lambda: {path.name for path in target.iterdir()} != before, 30, "a file on the target")
    stack.kill("worker")
    stack.start_part("worker")
    ended = stack.finished(accepted["operation"])
    assert ended["status"] == "succeeded", ended
    last = stack.get(f"/backups/{accepted['backup']['id']}")
    assert last["parent"] == first["id"]
    stack.succeeded("POST", f"/backups/{last['id']}/actions/verify")
    assert not [path.name for path in target.iterdir() if path.name.endswith(".part")]


def test_a_cancelled_one_leaves_nothing(guest: Guest, target: Path, stack: Stack) -> None:
    guest.back_up()
    before = {path.name for path in target.iterdir()}
    guest.write("much", 4 * 1024)
    accepted = stack.accepted("POST", f"/vms/{guest.vm['id']}/backups")
    stack.api("POST", f"/operations/{accepted['operation']['id']}/actions/cancel", {})
    ended = stack.finished(accepted["operation"])
    if ended["status"] == "cancelled":
        assert {path.name for path in target.iterdir()} == before
        assert stack.api("GET", f"/backups/{accepted['backup']['id']}").status_code == 404
    again = guest.back_up()
    assert (again["kind"], again["parent"]) != ("full", None) or "Full" in again["why_full"]
    stack.succeeded("POST", f"/backups/{again['id']}/actions/verify")


def test_full_target(guest: Guest, lab_host: LabHost, stack: Stack) -> None:
    """It says so, the guest runs on, and earlier backups are as they were."""
    path = lab_host.directory / "small"
    path.mkdir(exist_ok=True)
    pid = (lab_host.directory / "pid").read_text().strip()
    mount = ["nsenter", "--target", pid, "--mount", "mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(path)]
    subprocess.run(mount, check=True)
    stack.succeeded("POST", "/backup-targets", {"slug": "small", "path": str(path)}, user="admin")
    off(stack, guest.vm["id"])
    stack.succeeded("POST", f"/vms/{guest.vm['id']}/actions/start")  # guests see mounts from before their start
    first = guest.back_up(target="small")
    guest.write("much", 200 * 1024)
    failed = stack.finished(
        stack.accepted("POST", f"/vms/{guest.vm['id']}/backups", {"target": "small"})["operation"], 180
    )
    assert failed["status"] == "failed"
    assert failed["error"]["code"] in ("no_space", "target_full"), failed["error"]
    assert guest.host.state(guest.vm["id"]) == "running"
    stack.succeeded("POST", f"/backups/{first['id']}/actions/verify")
