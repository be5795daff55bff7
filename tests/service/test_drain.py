"""A host is emptied under machines that run, one after the other of a cluster; nobody of them stops."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.fixtures import Lab, LabHost
from tests.service.host import Host
from tests.stack import Stack, running, wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(1800)]
NAMES, MACHINES = ("local", "second"), 6
PATIENCE = 300.0
UP = """
from hosts.health import metrics
print(*[sample.labels["host"] for metric in metrics() for sample in metric.samples if sample.name == "berth_host_up"])
"""


@dataclass
class Cloud:
    """Two hosts, by the names that the portal knows them by; both see one pool."""

    stack: Stack
    hosts: dict[str, LabHost]

    def runs_on(self, vm_id: str) -> list[str]:
        """By the hosts' own word."""
        return [name for name in NAMES if vm_id in self._view(name).domains() and self._state(name, vm_id) == "running"]

    def _state(self, name: str, vm_id: str) -> str:
        return self._view(name).state(vm_id)

    def _view(self, name: str) -> Host:
        return Host(self.hosts[name].uri, self.stack.pool_path, self.hosts[name].netns)

    def post(self, path: str, body: Any = None) -> dict[str, Any]:
        return self.stack.accepted("POST", path, body or {}, user="admin")

    def do(self, path: str, body: Any = None) -> dict[str, Any]:
        return self.stack.finished(self.post(path, body)["operation"], PATIENCE, user="admin")

    def uncordon(self, name: str) -> None:
        assert self.stack.api("POST", f"/hosts/{name}/actions/uncordon", {}, user="admin").status_code == 200

    def state_of(self, name: str) -> str:
        return str(self.stack.get(f"/hosts/{name}", user="admin")["state"])


@pytest.fixture(scope="module")
def cloud(tiny_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    lab = Lab()
    try:
        hosts = dict(zip(NAMES, lab.up(len(NAMES)), strict=True))
        pool = lab.directory / "shared" / "pool"
        stack = Stack(tmp_path_factory.mktemp("drain"), hosts["local"].uri, pool, tiny_image)
        with running(stack):
            stack.succeeded("POST", "/hosts", {"name": "second", "uri": hosts["second"].uri}, user="admin")
            for name, host in hosts.items():
                answer = stack.api("PATCH", f"/hosts/{name}", {"peer_uri": host.uri}, user="admin")
                assert answer.status_code == 200, answer.text
            size = {"slug": "tiny", "name": "Tiny", "vcpus": 1, "memory_mib": 96, "disk_gib": 1}
            assert stack.api("POST", "/flavors", size, user="admin").status_code == 201
            yield Cloud(stack, hosts)
    finally:
        lab.down()


@pytest.fixture(scope="module")
def machines(cloud: Cloud) -> list[str]:
    """Six on the first host: five that run, and one that is off."""
    assert cloud.stack.api("POST", "/hosts/second/actions/cordon", {}, user="admin").status_code == 200
    made = [str(cloud.stack.create(f"t-{secrets.token_hex(4)}", flavor="tiny")["id"]) for _ in range(MACHINES)]
    cloud.stack.succeeded("POST", f"/vms/{made[-1]}/actions/force-off", {})
    cloud.uncordon("second")
    return made


def test_a_host_with_six_machines_is_emptied_as_planned(cloud: Cloud, machines: list[str]) -> None:
    plan = cloud.stack.get("/hosts/local/drain-plan", user="admin")
    assert plan["possible"]
    assert {move["vm"] for move in plan["moves"]} == set(machines)
    assert [move["way"] for move in plan["moves"]] == ["live"] * 5 + ["cold"]
    assert plan["moves"][-1]["vm"] == machines[-1]
    assert {move["host"] for move in plan["moves"]} == {"second"}
    operation = cloud.do("/hosts/local/actions/drain", {"concurrency": 3})
    assert operation["status"] == "succeeded", operation
    assert cloud.state_of("local") == "maintenance"
    assert [cloud.runs_on(vm_id) for vm_id in machines] == [["second"]] * 5 + [[]]
    told = cloud.stack.get("/operations?limit=100", user="admin")["results"]
    moves = [each["resource"]["id"] for each in told if each["kind"] == "vm.migrate"]
    assert sorted(moves) == sorted(machines)


def test_a_host_in_maintenance_is_switched_off_and_nobody_minds(cloud: Cloud, machines: list[str]) -> None:
    cloud.hosts["local"].kill()
    wait_until(lambda: cloud.stack.get("/hosts/local", user="admin")["health"] == "unreachable", 60, "that it is gone")
    metrics = cloud.stack.manage("shell", "-v0", "-c", UP)
    assert metrics.split() == ["second"]
    cloud.hosts["local"].start()
    wait_until(lambda: cloud.stack.get("/hosts/local", user="admin")["health"] == "ready", 90, "that it is back")
    cloud.uncordon("local")


def test_a_cluster_is_rolled_over_host_by_host(cloud: Cloud, machines: list[str]) -> None:
    plan = cloud.stack.get("/clusters/default/roll-plan", user="admin")
    assert plan["possible"]
    begun = cloud.post("/clusters/default/actions/roll", {"concurrency": 2})["operation"]
    for name in NAMES:
        wait_until(lambda name=name: cloud.state_of(name) == "maintenance", PATIENCE, f"{name} to be empty")
        other = next(each for each in NAMES if each != name)
        assert [cloud.runs_on(vm_id) for vm_id in machines] == [[other]] * 5 + [[]]
        assert cloud.state_of(other) == "enabled"
        cloud.uncordon(name)
    assert cloud.stack.finished(begun, PATIENCE, user="admin")["status"] == "succeeded"
    assert json.loads(cloud.stack.manage("audit", "--json")) == []
