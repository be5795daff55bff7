"""The bin on real QEMU; and nobody reads what a machine before theirs has written."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.service.host import Host
from tests.stack import Stack, wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]


def binned(stack: Stack, **body: Any) -> dict[str, Any]:
    vm = stack.create(**body)
    stack.succeeded("DELETE", f"/vms/{vm['id']}")
    return vm


def names(stack: Stack, query: str = "") -> list[str]:
    return [vm["name"] for vm in stack.get(f"/vms{query}")["results"]]


def test_it_lies_there_off_and_whole_and_comes_back_as_it_was(stack: Stack, host: Host) -> None:
    before = stack.get("/quotas/demo")["used"]
    vm = stack.create()
    held, disk = stack.get("/quotas/demo")["used"], host.root_volume(vm["id"])
    stack.succeeded("DELETE", f"/vms/{vm['id']}")
    assert host.state(vm["id"]) == "shut off"
    assert disk in host.volumes()
    assert stack.get("/quotas/demo")["used"] == held
    assert vm["name"] not in names(stack)
    assert vm["name"] in names(stack, "?bin=true")
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/restore", {})
    back = stack.get(f"/vms/{vm['id']}")
    assert host.state(vm["id"]) == "running"
    assert (back["name"], back["addresses"], back["purge_at"]) == (vm["name"], vm["addresses"], None)
    assert (back["nics"][0]["mac"], host.root_volume(vm["id"])) == (vm["nics"][0]["mac"], disk)
    wait_until(lambda: vm["addresses"][0] in host.leases("berth"), 60, "the address that it had")
    stack.succeeded("DELETE", f"/vms/{vm['id']}")
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/purge", {})
    assert host.traces_of(vm["id"]) == []
    assert disk not in host.volumes()
    assert stack.get("/quotas/demo")["used"] == before


def test_its_time_ends_by_itself(stack: Stack, host: Host) -> None:
    vm = binned(stack)
    stack.manage("shell", "-c", _OVER.format(id=vm["id"]))
    wait_until(lambda: stack.api("GET", f"/vms/{vm['id']}").status_code == 404, 150, "the end of it")
    assert host.traces_of(vm["id"]) == []


def test_a_host_that_lost_its_power_does_not_start_it_and_what_starts_it_is_told(stack: Stack, host: Host) -> None:
    vm = binned(stack)
    host.virsh("start", vm["id"])

    def is_told() -> bool:
        cards = stack.get("/drift?state=open", user="admin")["results"]
        return any(card["vm"] == vm["id"] and card["kind"] == "started_outside" for card in cards)

    wait_until(is_told, 90, "a drift: it was started by hand")
    host.virsh("destroy", vm["id"])
    wait_until(lambda: not is_told(), 90, "the end of the drift")
    assert host.state(vm["id"]) == "shut off"
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/purge", {})


def test_the_next_tenant_reads_nothing_of_what_was_purged(stack: Stack, host: Host, tmp_path: Path) -> None:
    """A guest writes a mark onto its disk; after the purge neither a new disk nor any file of the pool has it."""
    canary = secrets.token_hex(16)
    vm = stack.create(user_data=_WRITE.format(canary=canary))
    own = host.pool_path / host.root_volume(vm["id"])
    wait_until(lambda: has(own, canary), 400, "the mark on the host's side")
    stack.delete(vm)
    stack.api("POST", "/tenants", {"name": "Next", "slug": "next"}, user="admin")
    token = stack.token("admin", "--tenant", "next")
    body = {"name": "heir", "image": "tiny", "flavor": "nano", "tenant": "next"}
    heir = stack.succeeded("POST", "/vms", body, token=token)["vm"]
    stack.succeeded("POST", f"/vms/{heir['id']}/actions/force-off", {}, token=token)
    raw = tmp_path / "whole.raw"
    subprocess.run(
        ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", host.pool_path / host.root_volume(heir["id"]), raw],
        check=True,
    )
    assert raw.stat().st_size == 1024**3
    assert not has(raw, canary)
    assert not [file.name for file in host.pool_path.iterdir() if has(file, canary)]
    stack.succeeded("DELETE", f"/vms/{heir['id']}?purge=true", token=token)


def has(file: Path, mark: str) -> bool:
    return subprocess.run(["grep", "-qaF", mark, file]).returncode == 0


_WRITE = """#!/bin/sh
for i in $(seq 1 2000); do echo {canary}; done > /root/marks
sync
"""
_OVER = """
from django.utils import timezone
from vms.models import VM
VM.objects.unscoped("test").filter(pk="{id}").update(purge_at=timezone.now())
"""
