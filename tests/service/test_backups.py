"""Backups on real QEMU: what a guest wrote is what a restore brings back, and what is damaged is never restored."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.lab.fixtures import LabHost
from tests.service.host import Host, qemu_io
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
DUE = """
from datetime import timedelta
from django.utils import timezone
from vms.models import Schedule
due = timezone.now() - timedelta(seconds=1)
Schedule.objects.unscoped("test").filter(pk="{id}").update(due_at=due, next_at=due)
"""
WRITE = "head -c {size}k /dev/urandom >/root/{name}; sync; sha256sum /root/{name}; exit\n"
FILL = "yes of-no-use | head -c {size}k >/root/much; sync; echo done; exit\n"
PATTERN = (
    "head -c 1048576 /dev/zero | tr '\\000' '\\{octal}' | dd of=/dev/{target} bs=64k conv=fsync; sync; echo; exit\n"
)
SMALL_MIB = 160
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
        self.listens()
        self.sums[name] = self.run(WRITE.format(name=name, size=size_kib)).split()[0]
        assert len(self.sums[name]) == 64

    def fill(self, size_kib: int) -> None:
        """With what nobody reads again: neither random nor summed up, which takes a guest long."""
        self.listens()
        assert self.run(FILL.format(size=size_kib), 300) == "done\n"

    def listens(self) -> None:
        wait_until(lambda: self.run("echo here; exit\n", 10) == "here\n", 400, "a guest that listens")

    def back_up(self, **body: Any) -> dict[str, Any]:
        accepted = self.stack.succeeded("POST", f"/vms/{self.vm['id']}/backups", body)
        return {**self.stack.get(f"/backups/{accepted['backup']['id']}"), "holds": dict(self.sums)}


def written(host: Host, vm_id: str, name: str, scratch: Path) -> str:
    """The SHA-256 of a file on the disk of a machine that is off, as whoever mounts it would read it."""
    return contents(host.pool_path / host.root_volume(vm_id), [name], scratch)[name]


def contents(disk: Path, names: Iterable[str], scratch: Path) -> dict[str, str]:
    """The SHA-256 of each of these files on a disk that nobody writes to."""
    raw = scratch / "disk.raw"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk, raw], check=True)
    subprocess.run(["/sbin/e2fsck", "-fy", f"{raw}?offset={SYSTEM_AT}"], capture_output=True)
    found = {}
    for name in names:
        read = f"/sbin/debugfs -R 'cat /root/{name}' '{raw}?offset={SYSTEM_AT}' 2>/dev/null | sha256sum"
        found[name] = subprocess.check_output(["sh", "-c", read], text=True).split()[0]
    raw.unlink()
    return found


def in_mounts_of(lab_host: LabHost, *command: str | Path) -> None:
    """A command that sees and changes what the host's daemon sees mounted."""
    pid = (lab_host.directory / "pid").read_text().strip()
    subprocess.run(["nsenter", "--target", pid, "--mount", *command], check=True)


@pytest.fixture(scope="module")
def target(stack: Stack, lab_host: LabHost) -> Path:
    path = lab_host.directory / "backups"
    body = {"slug": "nas", "name": "The NAS", "path": str(path)}
    stack.succeeded("POST", "/backup-targets", body, user="admin")
    found = stack.get("/backup-targets/nas", user="admin")
    assert [host["reached"] for host in found["hosts"]] == [True]
    assert found["hosts"][0]["capacity_bytes"] > 0
    return path


@pytest.fixture(scope="module")
def small(stack: Stack, lab_host: LabHost) -> str:
    """A target with room for little more than one backup."""
    path = lab_host.directory / "small"
    path.mkdir()
    in_mounts_of(lab_host, "mount", "-t", "tmpfs", "-o", f"size={SMALL_MIB}m", "tmpfs", path)
    stack.succeeded("POST", "/backup-targets", {"slug": "small", "path": str(path)}, user="admin")
    return "small"


@pytest.fixture(scope="module")
def shared(stack: Stack, lab_host: LabHost, target: Path) -> Iterator[Guest]:
    """With an agent; whoever uses it leaves it running."""
    guest = Guest(stack, Host(stack.libvirt_uri, stack.pool_path, lab_host.netns), stack.create(user_data=AGENT))
    guest.listens()
    yield guest
    stack.delete(guest.vm)


def off(stack: Stack, vm_id: str) -> None:
    if stack.get(f"/vms/{vm_id}")["status"] != "stopped":
        stack.succeeded("POST", f"/vms/{vm_id}/actions/force-off")


def restore(guest: Guest, backup: dict[str, Any]) -> None:
    """In place, after which it is off."""
    guest.stack.succeeded("POST", f"/backups/{backup['id']}/actions/restore", {"safety": False})


def on_disk(guest: Guest, vm_id: str, names: Iterable[str], scratch: Path) -> dict[str, str]:
    off(guest.stack, vm_id)
    return contents(guest.host.pool_path / guest.host.root_volume(vm_id), names, scratch)


def test_full_and_three_incrementals_are_each_restored(stack: Stack, host: Host, target: Path, tmp_path: Path) -> None:
    """In place, then while it is off, and in the end as a new machine when the old one is gone."""
    guest = Guest(stack, host, stack.create(user_data=LISTEN))
    points = []
    for number in range(4):
        guest.write("known", 512)
        guest.write(f"round-{number}", 256)
        points.append(guest.back_up())
    assert [point["kind"] for point in points] == ["full", *["incremental"] * 3]
    assert {point["consistency"] for point in points} == {"crash"}
    assert all(0 < point["bytes_read"] < 64 << 20 for point in points[1:]), [point["bytes_read"] for point in points]
    for number in (2, 0, 3, 1):
        restore(guest, points[number])
        found = on_disk(guest, guest.vm["id"], guest.sums, tmp_path)
        holds = points[number]["holds"]
        assert {name: found[name] for name in holds} == holds
        assert all(found[name] != guest.sums[name] for name in guest.sums if name not in holds)
    backed_up_while_off(guest, points[1], tmp_path)
    restored_as_new(guest, points[3], tmp_path)


def backed_up_while_off(guest: Guest, now: dict[str, Any], scratch: Path) -> None:
    """It stays off, and what it has is that of `now`."""
    point = guest.back_up()
    assert (point["kind"], point["consistency"]) == ("full", "off")
    assert "Full, because" in point["why_full"]
    assert guest.stack.get(f"/vms/{guest.vm['id']}")["status"] == "stopped"
    assert guest.host.state(guest.vm["id"]) == "shut off"
    again = guest.back_up()
    assert (again["kind"], again["bytes_read"]) == ("incremental", 0)
    restore(guest, again)
    assert guest.host.state(guest.vm["id"]) == "shut off"
    assert on_disk(guest, guest.vm["id"], now["holds"], scratch) == now["holds"]


def restored_as_new(guest: Guest, backup: dict[str, Any], scratch: Path) -> None:
    """After its machine was deleted."""
    stack = guest.stack
    stack.delete(guest.vm)
    wait_until(lambda: stack.api("GET", f"/vms/{guest.vm['id']}").status_code == 404, 60, "its machine to be gone")
    left = stack.get(f"/backups/{backup['id']}")
    assert left["vm"] is None
    assert not left["actions"]["restore"]["allowed"]
    body = {"name": f"t-{secrets.token_hex(4)}"}
    vm = stack.succeeded("POST", f"/backups/{backup['id']}/actions/restore", body)["vm"]
    assert vm["name"] == body["name"]
    assert guest.host.state(vm["id"]) == "running"
    assert on_disk(guest, vm["id"], backup["holds"], scratch) == backup["holds"]
    stack.delete(vm)


def test_a_volume_is_restored_where_it_is_plugged_now(stack: Stack, host: Host, target: Path) -> None:
    guest = Guest(stack, host, stack.create(user_data=LISTEN))
    mine, other = (made_volume(stack, name) for name in ("mine", "other"))
    guest.listens()
    plug(guest, mine, "attach")
    guest.run(PATTERN.format(octal=252, target="vdb"))
    backup = guest.back_up()
    plug(guest, mine, "detach")
    plug(guest, other, "attach")
    plug(guest, mine, "attach")
    assert guest.run(PATTERN.format(octal=273, target="vdb")) == guest.run(PATTERN.format(octal=314, target="vdc"))
    restore(guest, backup)
    assert host.state(guest.vm["id"]) == "running"
    off(stack, guest.vm["id"])
    disks = host.disks(guest.vm["id"])
    assert qemu_io(host.pool_path / disks["vdb"], "read -P 0xbb 0 1M")
    assert qemu_io(host.pool_path / disks["vdc"], "read -P 0xaa 0 1M")
    assert host.volumes_of_defined_domains() <= host.volumes()
    stack.delete(guest.vm)
    for volume in (mine, other):
        stack.succeeded("DELETE", f"/volumes/{volume}")
    stack.succeeded("DELETE", f"/backups/{backup['id']}")


def made_volume(stack: Stack, name: str) -> str:
    return str(stack.succeeded("POST", "/volumes", {"name": name, "size_gib": 1, "tenant": "demo"})["volume"]["id"])


def plug(guest: Guest, volume: str, action: str) -> None:
    body = {"vm": guest.vm["id"]} if action == "attach" else {}
    guest.stack.succeeded("POST", f"/volumes/{volume}/actions/{action}", body)


def test_damage_is_found_and_never_restored(shared: Guest, target: Path) -> None:
    stack, vm_id = shared.stack, shared.vm["id"]
    others = set(target.iterdir())
    first = shared.back_up(full=True)
    (path,) = set(target.iterdir()) - others
    second = shared.back_up()
    stack.succeeded("POST", f"/backups/{second['id']}/actions/verify")
    assert stack.get(f"/backups/{second['id']}")["verified_at"]
    (file,) = first["disks"]
    with path.open("r+b") as content:
        content.seek(file["file_bytes"] // 2)
        byte = content.read(1)
        content.seek(-1, 1)
        content.write(bytes([byte[0] ^ 1]))
    before = shared.host.root_volume(vm_id)
    failed = stack.finished(stack.accepted("POST", f"/backups/{second['id']}/actions/restore", {})["operation"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "backup_damaged")
    assert "is not what was written" in failed["error"]["detail"]
    assert shared.host.root_volume(vm_id) == before
    assert shared.host.state(vm_id) == "running"
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
    stack.succeeded("POST", f"/backups/{second['id']}/actions/verify")


def test_what_later_ones_need_is_handed_over(shared: Guest, target: Path, tmp_path: Path) -> None:
    stack, others = shared.stack, set(target.iterdir())
    points = []
    for number in range(3):
        shared.write(f"part-{number}", 256)
        points.append(shared.back_up(full=number == 0))
    stack.succeeded("DELETE", f"/backups/{points[1]['id']}")
    stack.succeeded("DELETE", f"/backups/{points[0]['id']}")
    last = stack.get(f"/backups/{points[2]['id']}")
    assert (last["kind"], last["parent"]) == ("full", None)
    stack.succeeded("POST", f"/backups/{last['id']}/actions/verify")
    (left,) = set(target.iterdir()) - others
    wanted = {f"part-{number}": shared.sums[f"part-{number}"] for number in range(3)}
    assert contents(left, wanted, tmp_path) == wanted
    assert "nas" not in stack.manage("audit")


def test_a_target_that_goes_away_while_later_backups_take_over_is_waited_for(
    shared: Guest, target: Path, lab_host: LabHost
) -> None:
    stack = shared.stack
    shared.fill(200 * 1024)
    first = shared.back_up(full=True)
    shared.write("small", 256)
    second = shared.back_up()
    operation = stack.accepted("DELETE", f"/backups/{first['id']}")["operation"]["id"]
    told = lambda: stack.get(f"/operations/{operation}")  # noqa: E731
    wait_until(lambda: told()["step"] in ("hand-over", "sums"), 120, "a hand-over")
    in_mounts_of(lab_host, "mount", "-t", "tmpfs", "tmpfs", target)
    try:
        wait_until(lambda: "The NAS" in (told()["waiting_for"] or ""), 120, "words of what it waits for")
        assert told()["status"] in ("queued", "running")
    finally:
        in_mounts_of(lab_host, "umount", target)
    wait_until(lambda: told()["status"] == "succeeded", 180, "its end")
    left = stack.get(f"/backups/{second['id']}")
    assert (left["kind"], left["parent"], left["damage"]) == ("full", None, "")
    stack.succeeded("POST", f"/backups/{second['id']}/actions/verify")
    assert shared.host.helpers() == []


def test_of_a_target_that_is_not_mounted_nothing_is_deleted_or_called_damaged(
    shared: Guest, target: Path, lab_host: LabHost
) -> None:
    stack, before, vm_id = shared.stack, set(target.iterdir()), shared.vm["id"]
    chain = [shared.back_up(full=number == 0) for number in range(3)]
    files, newest = set(target.iterdir()) - before, f"/backups/{chain[-1]['id']}"
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("DELETE", newest, {}),
        ("POST", f"{newest}/actions/verify", {}),
        ("POST", f"{newest}/actions/restore", {}),
        ("POST", f"{newest}/actions/restore", {"name": "t-unmounted"}),
        ("POST", f"/vms/{vm_id}/backups", {}),
    ]
    in_mounts_of(lab_host, "mount", "-t", "tmpfs", "tmpfs", target)  # an empty directory, as where a mount is away
    try:
        for method, path, body in calls:
            failed = stack.finished(stack.accepted(method, path, body)["operation"])
            assert (failed["status"], failed["error"]["code"]) == ("failed", "target_unreachable")
            assert "The NAS is not mounted" in failed["error"]["detail"]
    finally:
        in_mounts_of(lab_host, "umount", target)
    assert shared.host.state(vm_id) == "running"
    kept = [stack.get(f"/backups/{each['id']}") for each in chain]
    assert {(each["status"], each["damage"]) for each in kept} == {("ready", "")}
    assert [each["id"] for each in stack.get(f"/backups?vm={vm_id}")["results"]][:3] == [
        each["id"] for each in reversed(chain)
    ]
    assert files <= set(target.iterdir())
    stack.succeeded("POST", f"{newest}/actions/verify")
    assert shared.back_up()["kind"] == "incremental"
    for each in stack.get(f"/backups?vm={vm_id}")["results"][:4]:
        stack.succeeded("DELETE", f"/backups/{each['id']}")
    assert set(target.iterdir()) == before


def test_one_is_made_by_the_clock(shared: Guest) -> None:
    stack, vm_id = shared.stack, shared.vm["id"]
    body = {
        "kind": "backup",
        "every": "weekly",
        "at": "03:00",
        "weekday": "monday",
        "keep": {"last": 2},
        "target": "nas",
    }
    made = stack.api("POST", f"/vms/{vm_id}/schedules", body)
    assert made.status_code == 201, made.text
    schedule = made.json()["id"]
    before = {each["id"] for each in stack.get(f"/backups?vm={vm_id}")["results"]}
    stack.manage("shell", "-c", DUE.format(id=schedule))

    def is_there() -> bool:
        new = [each for each in stack.get(f"/backups?vm={vm_id}")["results"] if each["id"] not in before]
        return [each["status"] for each in new] == ["ready"]

    wait_until(is_there, 120, "a backup that nobody asked for")
    assert stack.get(f"/schedules/{schedule}")["next_at"] > "2020"
    assert stack.api("DELETE", f"/schedules/{schedule}").status_code == 204


def test_an_agent_is_asked_and_never_left_frozen(shared: Guest, target: Path) -> None:
    point = shared.back_up(full=True)
    assert point["consistency"] == "frozen"
    asked = shared.run("cat /root/agent; exit\n").split()
    assert asked[-2:] == ["freeze", "thaw"]  # a try that found no answer may have come before
    program = DIES_FROZEN.format(pool="berth-backup-nas", uri=shared.stack.libvirt_uri, vm=shared.vm["id"])
    died = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=120)
    assert died.returncode == -signal.SIGKILL
    asked += ["freeze", "thaw"]
    wait_until(lambda: shared.run("cat /root/agent; exit\n").split() == asked, 30, "the guard's thaw")
    after = shared.back_up()
    assert (after["consistency"], after["kind"]) == ("frozen", "incremental")
    for left in target.glob("dies.qcow2*"):
        left.unlink()


def test_killed_in_the_middle(shared: Guest, target: Path, stack: Stack) -> None:
    """No partial file stays, and the chain is whole."""
    first = shared.back_up(full=True)
    shared.fill(8 * 1024)
    before = set(target.iterdir())
    accepted = stack.accepted("POST", f"/vms/{shared.vm['id']}/backups")
    wait_until(lambda: set(target.iterdir()) != before, 30, "a file on the target")
    stack.kill("worker")
    stack.start_part("worker")
    ended = stack.finished(accepted["operation"])
    assert ended["status"] == "succeeded", ended
    last = stack.get(f"/backups/{accepted['backup']['id']}")
    assert last["parent"] == first["id"]
    stack.succeeded("POST", f"/backups/{last['id']}/actions/verify")
    (file,) = set(target.iterdir()) - before
    assert file.suffix == ".qcow2"


def test_a_cancelled_one_leaves_nothing(shared: Guest, target: Path, stack: Stack) -> None:
    shared.back_up()
    before = set(target.iterdir())
    shared.fill(4 * 1024)
    accepted = stack.accepted("POST", f"/vms/{shared.vm['id']}/backups")
    stack.api("POST", f"/operations/{accepted['operation']['id']}/actions/cancel", {})
    ended = stack.finished(accepted["operation"])
    if ended["status"] == "cancelled":
        assert set(target.iterdir()) == before
        assert stack.api("GET", f"/backups/{accepted['backup']['id']}").status_code == 404
    again = shared.back_up()
    assert (again["kind"], again["parent"]) != ("full", None) or "Full" in again["why_full"]
    stack.succeeded("POST", f"/backups/{again['id']}/actions/verify")


def test_full_target(small: str, stack: Stack, host: Host) -> None:
    """It says so, the guest runs on, and earlier backups are as they were.

    The guest is a new one: it sees only what was mounted before its start, and has written little yet.
    """
    guest = Guest(stack, host, stack.create(user_data=LISTEN))
    first = guest.back_up(target=small)
    guest.fill(SMALL_MIB * 1024)
    accepted = stack.accepted("POST", f"/vms/{guest.vm['id']}/backups", {"target": small})
    failed = stack.finished(accepted["operation"], 180)
    assert failed["status"] == "failed"
    assert failed["error"]["code"] in ("no_space", "target_full"), failed["error"]
    assert host.state(guest.vm["id"]) == "running"
    stack.succeeded("POST", f"/backups/{first['id']}/actions/verify")
    stack.succeeded("DELETE", f"/backups/{first['id']}")  # what lies in memory would be lost with the host's power
    stack.delete(guest.vm)
