"""Changes behind the portal's back, on real QEMU: each is shown and put right; nothing of a tenant's is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.lab.fixtures import LabHost
from tests.service.host import Host
from tests.stack import ROOT, Stack, wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(400)]
SEEN_SECONDS = 75  # two rounds, and a poll

FOREIGN = """<domain type='qemu'><name>somebody-elses</name><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"""


def cards(stack: Stack, **filters: str) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in {"state": "open", **filters}.items())
    return list(stack.get(f"/drift?{query}", user="admin")["results"])


def card(stack: Stack, kind: str, object: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        return next((each for each in cards(stack) if (each["kind"], each["object"]) == (kind, object)), None)

    return dict(wait_until(found, SEEN_SECONDS, f"{kind} of {object}", stack.logs))


def resolve(stack: Stack, drift: dict[str, Any], action: str) -> None:
    stack.succeeded("POST", f"/drift/{drift['id']}/actions/{action}", {}, user="admin")


def is_closed(stack: Stack, drift: dict[str, Any]) -> bool:
    return bool(stack.get(f"/drift/{drift['id']}", user="admin")["state"] == "resolved")


def all_closed(stack: Stack, drifts: list[dict[str, Any]]) -> None:
    wait_until(lambda: all(is_closed(stack, each) for each in drifts), SEEN_SECONDS, "the cards to close themselves")


def audit(stack: Stack) -> list[dict[str, str]]:
    done = subprocess.run(
        [sys.executable, "manage.py", "audit", "--json"],
        cwd=ROOT,
        env=stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    findings = json.loads(done.stdout)
    assert done.returncode == bool(findings), done.stderr
    return list(findings)


def vm_of(stack: Stack, vm: dict[str, Any]) -> dict[str, Any]:
    return dict(stack.get(f"/vms/{vm['id']}"))


def test_what_was_done_by_hand_is_shown_and_put_right(stack: Stack, host: Host, tmp_path: Path) -> None:
    gone, cut, grown, cold = (stack.create(name) for name in ("gone", "cut", "grown", "cold"))
    stack.succeeded("POST", f"/vms/{cold['id']}/actions/force-off", {})
    assert audit(stack) == []
    orphan = f"{uuid4()}.qcow2"
    domain = tmp_path / "domain.xml"
    domain.write_text(FOREIGN)
    host.virsh("destroy", gone["id"])
    host.virsh("undefine", gone["id"])
    host.virsh("destroy", cut["id"])
    host.virsh("setvcpus", grown["id"], "2", "--config", "--maximum")
    host.virsh("setvcpus", grown["id"], "2", "--config")
    host.virsh("start", cold["id"])
    host.virsh("define", str(domain))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", host.pool_path / orphan, "1M"], check=True)
    (host.pool_path / "notes-of-the-admin.txt").write_text("mine")

    assert {each["kind"] for each in audit(stack)} == {
        "undefined_outside",
        "definition_changed",
        "volume_without_owner",
    }
    undefined = card(stack, "undefined_outside", f"berth-{gone['id']}")
    stopped = card(stack, "stopped_outside", f"berth-{cut['id']}")
    changed = card(stack, "definition_changed", f"berth-{grown['id']}")
    started = card(stack, "started_outside", f"berth-{cold['id']}")
    foreign = card(stack, "foreign_domain", "somebody-elses")
    volume = card(stack, "volume_without_owner", orphan)
    notes = card(stack, "volume_without_owner", "notes-of-the-admin.txt")
    assert changed["evidence"]["size"] == {"vcpus": 2, "memory_mib": grown["memory_mib"]}
    for drift in (foreign, notes):
        assert not any(drift["actions"][name]["allowed"] for name in ("adopt", "restore", "clean-up"))

    resolve(stack, undefined, "restore")
    assert host.state(gone["id"]) == "running"
    assert vm_of(stack, gone)["status"] == "running"
    resolve(stack, stopped, "restore")
    assert host.state(cut["id"]) == "running"
    resolve(stack, changed, "adopt")
    assert vm_of(stack, grown)["vcpus"] == 2
    resolve(stack, started, "adopt")
    resolve(stack, volume, "clean-up")
    assert not (host.pool_path / orphan).exists()
    for drift in (foreign, notes):
        assert stack.api("POST", f"/drift/{drift['id']}/actions/ignore", {}, user="admin").status_code == 200
    all_closed(stack, [undefined, stopped, changed, started, volume])
    assert {each["object"] for each in cards(stack, state="ignored")} == {"somebody-elses", "notes-of-the-admin.txt"}
    assert cards(stack) == []
    host.virsh("undefine", "somebody-elses")
    (host.pool_path / "notes-of-the-admin.txt").unlink()
    all_closed(stack, [foreign, notes])
    assert audit(stack) == []
    for vm in (gone, cut, grown, cold):
        stack.delete(vm)
    assert audit(stack) == []


def test_a_disk_that_is_gone_is_never_made_up(stack: Stack, host: Host) -> None:
    vm = stack.create("diskless")
    disk = host.root_volume(vm["id"])
    path = host.pool_path / disk
    saved = path.with_suffix(".away")
    os.rename(path, saved)
    missing = card(stack, "disk_missing", disk)
    assert missing["vm"] == vm["id"]
    assert not any(missing["actions"][name]["allowed"] for name in ("adopt", "restore", "clean-up"))
    os.rename(saved, path)
    all_closed(stack, [missing])
    stack.delete(vm)


def test_after_a_power_loss_machines_come_back_as_their_owners_want_them(
    stack: Stack, host: Host, lab_host: LabHost
) -> None:
    runs, rests = stack.create("runs"), stack.create("rests")
    stack.succeeded("POST", f"/vms/{rests['id']}/actions/force-off", {})
    lab_host.kill()
    lab_host.start()

    def is_back() -> bool:
        return vm_of(stack, runs)["status"] == "running" and host.state(runs["id"]) == "running"

    wait_until(is_back, 120, "the machine to be back", stack.logs)
    assert host.state(rests["id"]) == "shut off"
    assert cards(stack) == []
    operations = stack.get(f"/operations?target={runs['id']}")["results"]
    assert [each["kind"] for each in operations] == ["vm.repair", "vm.create"]
    assert operations[0]["created_by"] == "system"
    for vm in (runs, rests):
        stack.delete(vm)
    assert audit(stack) == []


def test_a_guest_that_powers_itself_off_is_obeyed(stack: Stack, host: Host) -> None:
    vm = stack.create("self-off")
    wait_until(lambda: vm["addresses"][0] in host.leases("berth"), 60, "the guest to boot")
    for _ in range(10):  # a guest that is still booting misses the power key
        subprocess.run(["virsh", "-q", "-c", host.uri, "shutdown", vm["id"]], capture_output=True, check=False)
        time.sleep(5)
        if host.state(vm["id"]) == "shut off":
            break
    wait_until(lambda: vm_of(stack, vm)["status"] == "stopped", 30, "the guest to power off")

    def is_told() -> bool:
        events = stack.get(f"/events?target={vm['id']}")["results"]
        return any(each["kind"] == "vm.powered-off-inside" for each in events)

    wait_until(is_told, 60 + SEEN_SECONDS, "the wish to follow", stack.logs)
    assert host.state(vm["id"]) == "shut off"
    assert cards(stack) == []
    stack.delete(vm)


def test_metrics_tell_of_it(stack: Stack) -> None:
    page = requests.get(
        f"{stack.url}/metrics", headers={"Authorization": f"Bearer {stack.token('admin')}"}, timeout=10
    ).text
    assert 'berth_drift_open{kind="undefined_outside"} 0.0' in page
    lag = next(line for line in page.splitlines() if line.startswith("berth_reconcile_lag_seconds{"))
    assert float(lag.rpartition(" ")[2]) < SEEN_SECONDS
