"""A host is emptied under machines that run, one after the other of a cluster; nobody of them stops."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.cloud import PATIENCE, Cloud, cloud_of
from tests.stack import wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(1800)]
NAMES, MACHINES = ("local", "second"), 6
UP = """
from hosts.health import metrics
print(*[sample.labels["host"] for metric in metrics() for sample in metric.samples if sample.name == "berth_host_up"])
"""


@pytest.fixture(scope="module")
def cloud(tiny_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud_of(NAMES, tmp_path_factory.mktemp("drain"), tiny_image) as cloud:
        size = {"slug": "tiny", "name": "Tiny", "vcpus": 1, "memory_mib": 96, "disk_gib": 1}
        cloud.set("POST", "/flavors", size)
        yield cloud


@pytest.fixture(scope="module")
def machines(cloud: Cloud) -> list[str]:
    """Six on the first host: five that run, and one that is off."""
    cloud.cordon("second")
    made = [str(cloud.stack.create(f"t-{secrets.token_hex(4)}", flavor="tiny")["id"]) for _ in range(MACHINES)]
    cloud.stack.succeeded("POST", f"/vms/{made[-1]}/actions/force-off", {})
    cloud.uncordon("second")
    return made


def empty(cloud: Cloud, name: str) -> None:
    if cloud.facts(name)["state"] != "maintenance":
        operation = cloud.do(f"/hosts/{name}/actions/drain", {"concurrency": 3})
        assert operation["status"] == "succeeded", operation


def open_all(cloud: Cloud) -> None:
    for name in NAMES:
        cloud.uncordon(name)


def test_a_host_with_six_machines_is_emptied_as_planned(cloud: Cloud, machines: list[str]) -> None:
    open_all(cloud)
    empty(cloud, "second")  # whatever other tests have moved there
    open_all(cloud)
    plan = cloud.stack.get("/hosts/local/drain-plan", user="admin")
    assert plan["possible"]
    assert {move["vm"] for move in plan["moves"]} == set(machines)
    assert [move["way"] for move in plan["moves"]] == ["live"] * 5 + ["cold"]
    assert plan["moves"][-1]["vm"] == machines[-1]
    assert {move["host"] for move in plan["moves"]} == {"second"}
    operation = cloud.do("/hosts/local/actions/drain", {"concurrency": 3})
    assert operation["status"] == "succeeded", operation
    assert cloud.facts("local")["state"] == "maintenance"
    assert [cloud.runs_on(vm_id) for vm_id in machines] == [["second"]] * 5 + [[]]
    told = cloud.stack.get("/operations?limit=100", user="admin")["results"]
    moves = [each["resource"]["id"] for each in told if each["kind"] == "vm.migrate"]
    assert sorted(moves[: len(machines)]) == sorted(machines)  # the newest come first


def test_a_host_in_maintenance_is_switched_off_and_nobody_minds(cloud: Cloud, machines: list[str]) -> None:
    empty(cloud, "local")
    cloud.hosts["local"].kill()
    wait_until(lambda: cloud.facts("local")["health"] == "unreachable", 60, "that it is gone")
    wait_until(lambda: cloud.stack.manage("shell", "-v0", "-c", UP).split() == ["second"], 60, "that none misses it")
    cloud.hosts["local"].start()
    wait_until(lambda: cloud.facts("local")["health"] == "ready", 90, "that it is back")


def test_a_cluster_is_rolled_over_host_by_host(cloud: Cloud, machines: list[str]) -> None:
    open_all(cloud)
    plan = cloud.stack.get("/clusters/default/roll-plan", user="admin")
    assert plan["possible"]
    begun = cloud.post("/clusters/default/actions/roll", {"concurrency": 2})
    for name in NAMES:
        wait_until(lambda name=name: cloud.facts(name)["state"] == "maintenance", PATIENCE, f"{name} to be empty")
        other = next(each for each in NAMES if each != name)
        assert [cloud.runs_on(vm_id) for vm_id in machines] == [[other]] * 5 + [[]]
        assert cloud.facts(other)["state"] == "enabled"
        cloud.uncordon(name)
    assert cloud.stack.finished(begun, PATIENCE, user="admin")["status"] == "succeeded"
    assert json.loads(cloud.stack.manage("audit", "--json")) == []
