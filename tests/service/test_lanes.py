"""Two hosts, of which one hangs: its operations wait and say so, and those of the other do not notice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.operations.lanes import slots_of_one
from tests.lab.fixtures import Lab, LabHost
from tests.stack import Stack, running, wait_until
from tests.tiny import tiny_image  # noqa: F401  the fixture

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]
NEW = {"image": "tiny", "flavor": "nano", "tenant": "demo"}


@pytest.fixture(scope="module")
def two_hosts() -> Iterator[list[LabHost]]:
    lab = Lab()
    try:
        yield lab.up(2)
    finally:
        lab.down()


@pytest.fixture
def portal(two_hosts: list[LabHost], tiny_image: Path, tmp_path: Path) -> Iterator[Stack]:  # noqa: F811
    first, second = two_hosts
    own_pool_of_each = Path("/var/lib/libvirt/images/berth-lanes")  # a host of the lab has this folder for itself
    stack = Stack(tmp_path, first.uri, own_pool_of_each, tiny_image, instance="berth-lanes")
    with running(stack):
        added = stack.accepted("POST", "/hosts", {"name": "second", "uri": second.uri}, user="admin")
        assert stack.finished(added["operation"], user="admin")["status"] == "succeeded"
        yield stack


def only(stack: Stack, name: str) -> None:
    """New machines go to this host."""
    for host in stack.get("/hosts", user="admin")["results"]:
        action = "uncordon" if host["name"] == name else "cordon"
        stack.api("POST", f"/hosts/{host['name']}/actions/{action}", {}, user="admin")


def test_a_host_that_hangs_holds_up_no_other(portal: Stack, two_hosts: list[LabHost]) -> None:
    (name,) = {host["name"] for host in portal.get("/hosts", user="admin")["results"]} - {"second"}
    only(portal, "second")
    daemon = two_hosts[1].libvirtd_pid
    os.kill(daemon, signal.SIGSTOP)
    try:
        waiting = [portal.accepted("POST", "/vms", {**NEW, "name": f"slow-{i}"}) for i in range(slots_of_one() + 2)]
        only(portal, name)
        for i in range(3):
            made = portal.accepted("POST", "/vms", {**NEW, "name": f"quick-{i}"})
            assert portal.finished(made["operation"])["status"] == "succeeded"
            portal.delete(made["vm"])
        for each in waiting:
            path = f"/operations/{each['operation']['id']}"
            assert wait_until(lambda path=path: portal.get(path)["waiting_for"], 40, "words about what it waits for")
    finally:
        os.kill(daemon, signal.SIGCONT)
    for each in waiting:
        end = portal.finished(each["operation"], seconds=180)
        assert end["status"] == "succeeded", f"{end}\n{portal.logs()}"
        portal.delete(each["vm"])
