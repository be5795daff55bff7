"""A host loses its power: its machines run elsewhere, each once, and never before it is certain that it is off.

BERTH_TEST_FAILOVERS=20 repeats the loss that often.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.fixtures import Lab, LabHost
from tests.service.host import Host
from tests.stack import Stack, running, wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(3600)]
HOSTS, MACHINES = 3, 3
FAILOVERS = int(os.environ.get("BERTH_TEST_FAILOVERS", "1"))
SILENCE_SECONDS = 30
PATIENCE = 240.0


@dataclass
class Cloud:
    """`hosts` by the names that the portal knows them by; all see one pool."""

    stack: Stack
    hosts: dict[str, LabHost]

    def view(self, name: str) -> Host:
        host = self.hosts[name]
        return Host(host.uri, self.stack.pool_path, host.netns)

    def facts(self, name: str) -> dict[str, Any]:
        return dict(self.stack.get(f"/hosts/{name}", user="admin"))

    def do(self, name: str, action: str, body: Any = None) -> dict[str, Any]:
        path = f"/hosts/{name}/actions/{action}"
        return self.stack.finished(
            self.stack.accepted("POST", path, body or {}, user="admin")["operation"], PATIENCE, user="admin"
        )

    def set_agent(self, name: str, lab_id: str = "") -> None:
        host = self.hosts[name]
        body = {"agent": "fence_lab", "options": {"plug": f"{lab_id or host.lab.id}/{host.number}"}}
        assert self.stack.api("PUT", f"/hosts/{name}/fence-agent", body, user="admin").status_code == 200

    def runs_on(self, vm_id: str, among: set[str]) -> list[str]:
        """By the hosts' own word."""
        found = [name for name in among if vm_id in self.view(name).domains()]
        return [name for name in found if self.view(name).state(vm_id) == "running"]

    def host_of(self, vm_id: str) -> str:
        (name,) = self.runs_on(vm_id, set(self.hosts))
        return name

    def is_back(self, name: str) -> bool:
        facts = self.facts(name)
        return facts["health"] == "ready" and facts["state"] == "cordoned"

    def bring_back(self, name: str) -> None:
        self.hosts[name].start()
        wait_until(lambda: self.is_back(name), PATIENCE, f"{name} to be cleared\n{self.stack.logs()}")
        assert self.stack.api("POST", f"/hosts/{name}/actions/uncordon", {}, user="admin").status_code == 200


@pytest.fixture(scope="module")
def cloud(tiny_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    lab = Lab()
    try:
        names = ("local", *(f"host-{number}" for number in range(2, HOSTS + 1)))
        hosts = dict(zip(names, lab.up(HOSTS), strict=True))
        pool = lab.directory / "shared" / "pool"
        stack = Stack(tmp_path_factory.mktemp("failover"), hosts["local"].uri, pool, tiny_image)
        with running(stack):
            cloud = Cloud(stack, hosts)
            for name in names[1:]:
                added = stack.accepted("POST", "/hosts", {"name": name, "uri": hosts[name].uri}, user="admin")
                assert stack.finished(added["operation"], PATIENCE, user="admin")["status"] == "succeeded"
            for name in names:
                cloud.set_agent(name)
            yield cloud
    finally:
        lab.down()


@pytest.fixture(scope="module")
def machines(cloud: Cloud) -> list[str]:
    return [str(cloud.stack.create(f"t-{secrets.token_hex(4)}")["id"]) for _ in range(MACHINES)]


def set_policy(cloud: Cloud, failover: str) -> None:
    body = {"failover": failover, "failover_after": SILENCE_SECONDS}
    assert cloud.stack.api("PATCH", "/clusters/default", body, user="admin").status_code == 200


def busiest(cloud: Cloud, machines: list[str]) -> str:
    homes = [cloud.host_of(vm_id) for vm_id in machines]
    return max(set(homes), key=homes.count)


@pytest.mark.parametrize("turn", range(FAILOVERS))
def test_each_machine_runs_once_elsewhere(cloud: Cloud, machines: list[str], turn: int) -> None:
    set_policy(cloud, "automatic")
    lost = busiest(cloud, machines)
    there = [vm_id for vm_id in machines if cloud.host_of(vm_id) == lost]
    cloud.hosts[lost].kill()
    left = set(cloud.hosts) - {lost}
    for vm_id in machines:
        wait_until(lambda vm_id=vm_id: cloud.runs_on(vm_id, left), PATIENCE, f"{vm_id} elsewhere\n{cloud.stack.logs()}")
        assert len(cloud.runs_on(vm_id, left)) == 1
    assert cloud.facts(lost)["state"] == "failed"
    for vm_id in there:
        kinds = [event["kind"] for event in cloud.stack.get(f"/events?target={vm_id}")["results"]]
        assert {"vm.host-failed", "vm.recover.succeeded"} <= set(kinds)
    cloud.bring_back(lost)
    for vm_id in there:
        assert vm_id not in cloud.view(lost).domains()
        assert len(cloud.runs_on(vm_id, set(cloud.hosts))) == 1
    for host in cloud.hosts.values():
        logs = [path.read_text(errors="replace") for path in (host.directory / "log" / "qemu").glob("berth-0*.log")]
        assert not [log for log in logs if 'Failed to get "write" lock' in log], "a guest was started twice"


def test_without_proof_nothing_starts_until_somebody_vouches(cloud: Cloud, machines: list[str]) -> None:
    set_policy(cloud, "manual")
    lost = busiest(cloud, machines)
    there = [vm_id for vm_id in machines if cloud.host_of(vm_id) == lost]
    left = set(cloud.hosts) - {lost}
    cloud.set_agent(lost, lab_id="nolab")
    cloud.hosts[lost].kill()
    operation = cloud.do(lost, "fence")
    assert (operation["status"], operation["error"]["code"]) == ("failed", "fencing_failed")
    assert [vm_id for vm_id in there if cloud.runs_on(vm_id, left)] == []
    wait_until(lambda: cloud.facts(lost)["health"] == "unreachable", PATIENCE, "that it does not answer")
    assert cloud.do(lost, "confirm-off", {"name": lost})["status"] == "succeeded"
    assert [len(cloud.runs_on(vm_id, left)) for vm_id in there] == [1] * len(there)
    cloud.bring_back(lost)
    assert not set(there) & cloud.view(lost).domains()


def test_a_daemon_that_hangs_is_no_failed_host(cloud: Cloud, machines: list[str]) -> None:
    """Its agent says that it is on, and it has no address to ask: so nothing is done, and that is said."""
    set_policy(cloud, "automatic")
    name = busiest(cloud, machines)
    cloud.set_agent(name)
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
