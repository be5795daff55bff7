"""The main job on real QEMU: create, every action of a life, and delete without a trace."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.service.host import Host
from tests.stack import Stack, wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def machine(stack: Stack) -> Iterator[dict[str, Any]]:
    machine = stack.create()
    yield machine
    stack.delete(machine)


@pytest.fixture
def vm(stack: Stack, machine: dict[str, Any]) -> dict[str, Any]:
    """A running machine, whatever the test before left it as."""
    if status(stack, machine) == "paused":
        act(stack, machine, "resume")
    if status(stack, machine) == "stopped":
        act(stack, machine, "start")
    return machine


def status(stack: Stack, vm: dict[str, Any]) -> str:
    return str(stack.get(f"/vms/{vm['id']}")["status"])


def act(stack: Stack, vm: dict[str, Any], action: str, body: dict[str, Any] | None = None) -> None:
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/{action}", body or {})


def test_a_created_machine_runs_under_its_own_id(stack: Stack, vm: dict[str, Any], host: Host) -> None:
    assert vm["status"] == "running"
    assert host.state(vm["id"]) == "running"
    assert host.name(vm["id"]).startswith("berth-")


def test_its_definition_is_what_was_promised(vm: dict[str, Any], host: Host) -> None:
    xml = host.xml(vm["id"])
    assert xml.find("devices/graphics[@type='vnc']/listen").get("type") == "socket"
    assert xml.find("devices/disk[@device='disk']/driver").get("type") == "qcow2"
    assert xml.find("devices/disk[@device='disk']/target").get("bus") == "virtio"
    assert xml.find("devices/interface/model").get("type") == "virtio"
    assert xml.find("devices/console") is not None
    assert xml.get("type") == "qemu", "TCG, because KVM hangs on these machines, or is absent"


def test_the_guest_takes_the_promised_address(stack: Stack, vm: dict[str, Any], host: Host) -> None:
    (address,) = vm["addresses"]
    wait_until(lambda: address in host.leases("berth"), 60, f"DHCP lease of {address}")
    wait_until(lambda: stack.get(f"/vms/{vm['id']}")["nics"][0]["seen_at"], 60, "the portal's knowledge of the lease")


def test_pause_and_resume(stack: Stack, vm: dict[str, Any], host: Host) -> None:
    act(stack, vm, "pause")
    assert (status(stack, vm), host.state(vm["id"])) == ("paused", "paused")
    act(stack, vm, "resume")
    assert (status(stack, vm), host.state(vm["id"])) == ("running", "running")


def test_reboot_keeps_it_running(stack: Stack, vm: dict[str, Any], host: Host) -> None:
    act(stack, vm, "reboot")
    assert host.state(vm["id"]) == "running"


def test_stop_by_acpi_resize_and_start(stack: Stack, vm: dict[str, Any], host: Host) -> None:
    act(stack, vm, "stop")
    assert (status(stack, vm), host.state(vm["id"])) == ("stopped", "shut off")
    act(stack, vm, "resize", {"flavor": "micro"})
    now = stack.get(f"/vms/{vm['id']}")
    assert (now["memory_mib"], now["disk_gib"], now["flavor"]) == (256, 2, "micro")
    assert host.xml(vm["id"]).findtext("memory") == str(256 * 1024)
    act(stack, vm, "start")
    assert host.state(vm["id"]) == "running"


def test_force_off(stack: Stack, vm: dict[str, Any], host: Host) -> None:
    act(stack, vm, "force-off")
    assert (status(stack, vm), host.state(vm["id"])) == ("stopped", "shut off")
    act(stack, vm, "start")


def test_rename_needs_no_operation(stack: Stack, vm: dict[str, Any]) -> None:
    answer = stack.api("PATCH", f"/vms/{vm['id']}", {"name": "renamed"})
    assert (answer.status_code, answer.json()["name"]) == (200, "renamed")


def test_changes_made_outside_are_shown(stack: Stack, vm: dict[str, Any], host: Host) -> None:
    changes = {"destroy": "stopped", "start": "running", "suspend": "paused", "resume": "running"}
    for change, expected in changes.items():
        host.virsh(change, vm["id"])
        began = time.monotonic()
        wait_until(lambda expected=expected: status(stack, vm) == expected, 10, f"{expected} after virsh {change}")
        print(f"{change}: seen after {time.monotonic() - began:.2f} s")


def test_a_lost_event_is_made_good_by_the_next_poll(stack: Stack, vm: dict[str, Any], host: Host) -> None:
    stack.kill("observer")
    host.virsh("suspend", vm["id"])
    host.virsh("resume", vm["id"])
    host.virsh("suspend", vm["id"])
    stack.start_part("observer")
    wait_until(lambda: status(stack, vm) == "paused", 20, "paused, by the poll")
    act(stack, vm, "resume")


def test_a_protected_machine_is_not_deleted(stack: Stack, vm: dict[str, Any]) -> None:
    stack.api("PATCH", f"/vms/{vm['id']}", {"protected": True})
    refused = stack.api("DELETE", f"/vms/{vm['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "protected")
    stack.api("PATCH", f"/vms/{vm['id']}", {"protected": False})


def test_delete_leaves_nothing(stack: Stack, host: Host) -> None:
    before = stack.get("/quotas/demo")["used"]
    vm = stack.create()
    assert host.traces_of(vm["id"])
    stack.delete(vm)
    assert host.traces_of(vm["id"]) == []
    assert host.volumes_of_machines() == host.volumes_of_defined_domains()
    assert stack.get("/quotas/demo")["used"] == before
    assert stack.api("GET", f"/vms/{vm['id']}").status_code == 404


def test_ssh_with_a_remembered_key(stack: Stack, host: Host, tmp_path: Any) -> None:
    """Also for a machine that has the address of one that was deleted a moment ago."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    addresses = set()
    for _ in range(2):
        vm = stack.create(ssh_keys=[(tmp_path / "key.pub").read_text().strip()])
        try:
            assert vm["ssh"] == f"ssh tiny@{vm['addresses'][0]}"
            wait_until(lambda vm=vm: hostname_by_ssh(host, vm, tmp_path) == vm["name"], 120, "an SSH login")
            addresses.add(vm["addresses"][0])
        finally:
            stack.delete(vm)
    assert len(addresses) == 1


def hostname_by_ssh(host: Host, vm: dict[str, Any], keys: Any) -> str:
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=5"]
    command = ["ssh", "-i", keys / "key", *(word for option in options for word in ("-o", option))]
    target = [f"tiny@{vm['addresses'][0]}", "hostname"]
    return subprocess.run([*host.inside, *command, *target], capture_output=True, text=True, timeout=30).stdout.strip()
