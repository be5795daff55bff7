"""A host loses its power: its machines run elsewhere, each once, and never before it is certain that it is off.

BERTH_TEST_FAILOVERS=20 repeats the loss that often.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.cloud import PATIENCE, Cloud, cloud_of
from tests.stack import wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(3600)]
NAMES, MACHINES = ("local", "host-2", "host-3"), 3
FAILOVERS = int(os.environ.get("BERTH_TEST_FAILOVERS", "1"))
SILENCE_SECONDS = 30


@pytest.fixture(scope="module")
def cloud(tiny_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud_of(NAMES, tmp_path_factory.mktemp("failover"), tiny_image) as cloud:
        for name in NAMES:
            set_agent(cloud, name)
        for name in NAMES:
            wait_until(lambda name=name: is_trusted(cloud, name), PATIENCE, f"the word of {name}'s agent to be a proof")
        yield cloud


def set_agent(cloud: Cloud, name: str, lab_id: str = "") -> None:
    host = cloud.hosts[name]
    options = {"plug": f"{lab_id or host.lab.id}/{host.number}"}
    cloud.set("PUT", f"/hosts/{name}/fence-agent", {"agent": "fence_lab", "options": options})


def is_trusted(cloud: Cloud, name: str) -> bool:
    """Only from then on is a host that its agent finds off taken for failed."""
    agent = cloud.stack.get(f"/hosts/{name}/fence-agent", user="admin")
    return bool(agent["tested_at"]) and not agent["problem"]


def bring_back(cloud: Cloud, name: str) -> None:
    cloud.hosts[name].start()
    wait_until(lambda: is_back(cloud, name), PATIENCE, f"{name} to be cleared", cloud.stack.logs)
    cloud.uncordon(name)


def is_back(cloud: Cloud, name: str) -> bool:
    facts = cloud.facts(name)
    return facts["health"] == "ready" and facts["state"] == "cordoned"


@pytest.fixture(scope="module")
def machines(cloud: Cloud) -> list[str]:
    return [str(cloud.stack.create(f"t-{secrets.token_hex(4)}")["id"]) for _ in range(MACHINES)]


def set_policy(cloud: Cloud, failover: str) -> None:
    body = {"failover": failover, "failover_after": SILENCE_SECONDS}
    cloud.set("PATCH", "/clusters/default", body)


def busiest(cloud: Cloud, machines: list[str]) -> str:
    homes = [cloud.host_of(vm_id) for vm_id in machines]
    return max(set(homes), key=homes.count)


@pytest.mark.parametrize("turn", range(FAILOVERS))
def test_each_machine_runs_once_elsewhere(cloud: Cloud, machines: list[str], turn: int) -> None:
    set_policy(cloud, "automatic")
    lost = busiest(cloud, machines)
    wait_until(lambda: is_trusted(cloud, lost), PATIENCE, f"the word of {lost}'s agent to be a proof")
    there = [vm_id for vm_id in machines if cloud.host_of(vm_id) == lost]
    cloud.hosts[lost].kill()
    left = set(cloud.hosts) - {lost}
    for vm_id in machines:
        wait_until(lambda vm_id=vm_id: cloud.runs_on(vm_id, left), PATIENCE, f"{vm_id} elsewhere", cloud.stack.logs)
        assert len(cloud.runs_on(vm_id, left)) == 1
    assert cloud.facts(lost)["state"] == "failed"
    for vm_id in there:
        kinds = [event["kind"] for event in cloud.stack.get(f"/events?target={vm_id}")["results"]]
        assert {"vm.host-failed", "vm.recover.succeeded"} <= set(kinds)
    bring_back(cloud, lost)
    for vm_id in there:
        assert vm_id not in cloud.view(lost).domains()
        assert len(cloud.runs_on(vm_id, set(cloud.hosts))) == 1
    found = [path for host in cloud.hosts.values() for path in (host.directory / "log" / "qemu").glob("berth-*.log")]
    assert {path.stem.removeprefix("berth-") for path in found} >= set(machines), "the logs are elsewhere"
    logs = [path.read_text(errors="replace") for path in found]
    assert not [log for log in logs if 'Failed to get "write" lock' in log], "a guest was started twice"


def test_without_proof_nothing_starts_until_somebody_vouches(cloud: Cloud, machines: list[str]) -> None:
    set_policy(cloud, "manual")
    lost = busiest(cloud, machines)
    there = [vm_id for vm_id in machines if cloud.host_of(vm_id) == lost]
    left = set(cloud.hosts) - {lost}
    set_agent(cloud, lost, lab_id="nolab")
    cloud.hosts[lost].kill()
    operation = cloud.do(f"/hosts/{lost}/actions/fence")
    assert (operation["status"], operation["error"]["code"]) == ("failed", "fencing_failed")
    assert [vm_id for vm_id in there if cloud.runs_on(vm_id, left)] == []
    wait_until(lambda: cloud.facts(lost)["health"] == "unreachable", PATIENCE, "that it does not answer")
    assert cloud.do(f"/hosts/{lost}/actions/confirm-off", {"name": lost})["status"] == "succeeded"
    assert [len(cloud.runs_on(vm_id, left)) for vm_id in there] == [1] * len(there)
    bring_back(cloud, lost)
    assert not set(there) & cloud.view(lost).domains()
    set_agent(cloud, lost)


def test_a_daemon_that_hangs_is_no_failed_host(cloud: Cloud, machines: list[str]) -> None:
    """Its agent says that it is on, and it has no address to ask: so nothing is done, and that is said."""
    set_policy(cloud, "automatic")
    name = busiest(cloud, machines)
    there = [vm_id for vm_id in machines if cloud.host_of(vm_id) == name]
    pid = cloud.hosts[name].libvirtd_pid
    os.kill(pid, 19)
    try:
        words = wait_until(lambda: cloud.facts(name)["suspicion"], PATIENCE, "words on its silence")
        assert "nothing else tells" in words
        assert cloud.facts(name)["suspected_at"] is None
    finally:
        os.kill(pid, 18)
    assert sorted(cloud.runs_on(vm_id, {name}) for vm_id in there) == [[name]] * len(there)
