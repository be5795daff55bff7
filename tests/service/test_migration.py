"""A guest that counts goes from host to host, with its memory and the data of a disk that one of them has alone."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.console import Console
from tests.service.cloud import PATIENCE, Cloud, cloud_of
from tests.service.guest import root_console
from tests.stack import wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(1200)]
NAMES = ("local", "second")
OWN = "own"
COUNT = "{ (n=0; while :; do n=$((n+1)); echo $n >> /tmp/beats; sleep 0.1; done) & }"
WRITE = "{ (while :; do dd if=/dev/zero of=/tmp/busy bs=1M count=20 conv=notrunc 2>/dev/null; done) & }"
HASH = "echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vdb bs=1M count=24 skip=100 2>/dev/null | sha256sum"


@pytest.fixture(scope="module")
def cloud(tiny_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud_of(NAMES, tmp_path_factory.mktemp("migration"), tiny_image) as cloud:
        cloud.set("POST", "/storage-classes", {"slug": OWN, "name": "Of one host"})
        for name, host in cloud.hosts.items():
            body = {"name": OWN, "storage_class": OWN, "path": str(host.directory / OWN)}
            assert cloud.do(f"/hosts/{name}/pools", body)["status"] == "succeeded"
        yield cloud


@pytest.fixture(scope="module")
def machine(cloud: Cloud) -> str:
    """It counts into a file in its memory, ten times a second."""
    vm_id = str(cloud.stack.create(f"t-{secrets.token_hex(4)}")["id"])
    with at_console(cloud, vm_id) as guest:
        guest.command(COUNT)
    return vm_id


def at_console(cloud: Cloud, vm_id: str) -> AbstractContextManager[Console]:
    """Root in the guest, wherever it runs."""
    return root_console(cloud.hosts[cloud.host_of(vm_id)].uri, vm_id)


def beats(cloud: Cloud, vm_id: str) -> int:
    """How far it has counted, without leaving out or repeating a number."""
    with at_console(cloud, vm_id) as guest:
        missed = guest.command("awk '$1 != NR' /tmp/beats | wc -l")
        assert missed == "0"
        return int(guest.command("tail -n 1 /tmp/beats"))


def move(cloud: Cloud, vm_id: str, to: str) -> dict[str, Any]:
    operation = cloud.do(f"/vms/{vm_id}/actions/migrate", {"host": to})
    assert operation["status"] == "succeeded", operation
    return operation


def other_than(name: str) -> str:
    (found,) = set(NAMES) - {name}
    return found


def test_a_guest_that_counts_misses_no_beat(cloud: Cloud, machine: str) -> None:
    before = beats(cloud, machine)
    there = other_than(cloud.host_of(machine))
    move(cloud, machine, there)
    assert cloud.runs_on(machine) == [there]
    after = beats(cloud, machine)
    assert after > before
    told = cloud.stack.get(f"/events?target={machine}")["results"]
    moved = next(event for event in told if event["kind"] == "vm.migrated")  # the newest comes first
    assert 0 < moved["data"]["after"]["downtime_ms"] <= moved["data"]["after"]["total_ms"]


def test_the_data_of_a_disk_of_one_host_goes_along(cloud: Cloud, machine: str) -> None:
    body = {"name": "data", "size_gib": 1, "tenant": "demo", "vm": machine, "storage_class": OWN}
    cloud.stack.succeeded("POST", "/volumes", body)
    with at_console(cloud, machine) as guest:
        guest.command("dd if=/dev/urandom of=/dev/vdb bs=1M count=24 seek=100 2>/dev/null; sync", 60)
        before = guest.command(HASH, 60)
    assert re.match("[0-9a-f]{64}", before)
    here = cloud.host_of(machine)
    move(cloud, machine, other_than(here))
    assert [path.name for path in (cloud.hosts[here].directory / OWN).glob("*.qcow2")] == []
    with at_console(cloud, machine) as guest:
        assert guest.command(HASH, 60) == before


def test_cancelled_half_way_it_goes_on_where_it_was(cloud: Cloud, machine: str) -> None:
    before, here = beats(cloud, machine), cloud.host_of(machine)
    cloud.set("PATCH", "/clusters/default", {"migration_mib_s": 1})
    begun = cloud.post(f"/vms/{machine}/actions/migrate", {"host": other_than(here)})
    path = f"/operations/{begun['id']}"
    wait_until(lambda: 10 < cloud.stack.get(path, user="admin")["progress"] < 90, PATIENCE, "half of the way")
    cloud.stack.api("POST", f"{path}/actions/cancel", {}, user="admin")
    assert cloud.stack.finished(begun, PATIENCE, user="admin")["status"] == "cancelled"
    cloud.set("PATCH", "/clusters/default", {"migration_mib_s": 0})
    assert cloud.runs_on(machine) == [here]
    assert beats(cloud, machine) > before
    assert cloud.stack.manage("audit", "--json").strip() == "[]"


def test_a_guest_that_writes_faster_than_is_sent_arrives_by_post_copy(cloud: Cloud) -> None:
    """No number of passes would ever be enough."""
    vm_id = str(cloud.stack.create(f"t-{secrets.token_hex(4)}")["id"])
    with at_console(cloud, vm_id) as guest:
        guest.command(WRITE)
    cloud.set("PATCH", "/clusters/default", {"migration_mib_s": 8, "convergence": "post-copy"})
    here = cloud.host_of(vm_id)
    there = other_than(here)
    begun = cloud.post(f"/vms/{vm_id}/actions/migrate", {"host": there})
    reason = partial(cloud.view(here).virsh, "domstate", vm_id, "--reason")
    wait_until(lambda: "post-copy" in reason(), PATIENCE, "the switch to post-copy")
    assert cloud.stack.finished(begun, PATIENCE, user="admin")["status"] == "succeeded"
    cloud.set("PATCH", "/clusters/default", {"migration_mib_s": 0, "convergence": "auto-converge"})
    assert cloud.runs_on(vm_id) == [there]
    with at_console(cloud, vm_id) as guest:
        assert guest.command("pgrep -f of=/tmp/busy | wc -l") != "0"
