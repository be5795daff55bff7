"""Promises on real QEMU: weights hold between busy guests, and who is short of CPU is told so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.service.host import Host
from tests.stack import Stack, wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(900)]
BUSY = "#!/bin/sh\nwhile :; do :; done\n"
SECONDS = 60


@pytest.fixture(scope="module")
def pair(stack: Stack) -> Iterator[dict[str, dict[str, Any]]]:
    """Two busy machines whose floors are 1:3 of one CPU."""
    made = {}
    for slug, floor in (("light", 25), ("heavy", 75)):
        size = {"vcpus": 1, "memory_mib": 128, "disk_gib": 1, "service_class": "burstable", "cpu_floor": floor}
        answer = stack.api("POST", "/flavors", {"slug": slug, "name": slug.title(), **size}, user="admin")
        assert answer.status_code == 201, answer.text
        made[slug] = stack.create(f"promise-{slug}", flavor=slug, user_data=BUSY)
    yield made
    for vm in made.values():
        stack.delete(vm)


def counters(host: Host, vm: dict[str, Any]) -> dict[str, int]:
    """Nanoseconds: what the domain used, QEMU's own work for it included, as the weight is that of both; and what its
    vCPU ran, and waited."""
    told = host.virsh("domstats", "--cpu-total", "--vcpu", vm["id"]).splitlines()[1:]
    lines = dict(line.strip().split("=", 1) for line in told)
    names = {"used": "cpu.time", "ran": "vcpu.0.time", "waited": "vcpu.0.delay"}
    return {name: int(lines[counter]) for name, counter in names.items()}


def grown(host: Host, vm: dict[str, Any], before: dict[str, int]) -> dict[str, float]:
    """In seconds."""
    return {name: (value - before[name]) / 1e9 for name, value in counters(host, vm).items()}


def is_busy(host: Host, vm: dict[str, Any]) -> bool:
    before = counters(host, vm)
    time.sleep(2)
    after = grown(host, vm, before)
    return after["ran"] + after["waited"] > 1.6


def test_the_host_knows_what_it_can_hold_guests_to(stack: Stack) -> None:
    found = stack.get("/hosts/local", user="admin")
    assert found["service_classes"]["guaranteed"] == found["service_classes"]["burstable"] == ""
    assert "keeps none" in found["service_classes"]["dedicated"]


def test_what_this_host_cannot_is_refused_and_not_tried(stack: Stack) -> None:
    for slug, more, words in (
        ("own", {"service_class": "dedicated"}, "one CPU of its own"),
        ("huge", {"service_class": "guaranteed", "has_huge_pages": True}, "huge pages"),
    ):
        body = {"slug": slug, "name": slug, "vcpus": 1, "memory_mib": 128, "disk_gib": 1, **more}
        assert stack.api("POST", "/flavors", body, user="admin").status_code == 201
        wanted = {"name": f"not-{slug}", "image": "tiny", "flavor": slug, "tenant": "demo"}
        answer = stack.api("POST", "/vms", wanted)
        assert (answer.status_code, answer.json()["code"]) == (409, "no_capacity")
        assert words in answer.json()["detail"]


def test_weights_and_waiting(stack: Stack, host: Host, pair: dict[str, dict[str, Any]]) -> None:
    light = pair["light"]
    shares = {name: host.xml(vm["id"]).findtext("cputune/shares") for name, vm in pair.items()}
    assert int(shares["heavy"] or 0) == 3 * int(shares["light"] or 0) > 0
    for vm in pair.values():
        host.virsh("vcpupin", vm["id"], "0", "0", "--live")  # one core for both, and all of each
        host.virsh("emulatorpin", vm["id"], "0", "--live")
        wait_until(lambda vm=vm: is_busy(host, vm), 120, f"{vm['name']} to be busy")
    before = {name: counters(host, vm) for name, vm in pair.items()}
    time.sleep(SECONDS)
    took = {name: grown(host, vm, before[name]) for name, vm in pair.items()}
    print(took)
    assert took["heavy"]["used"] / took["light"]["used"] == pytest.approx(3, rel=0.1)
    assert took["light"]["waited"] > took["heavy"]["waited"]

    def told() -> dict[str, Any] | None:
        found = stack.get(f"/vms/{light['id']}/guarantee")
        return dict(found) if found["waiting"]["kept"] in ("at risk", "broken") else None

    card = wait_until(told, 240, "the card to turn", stack.logs)
    assert (card["service_class"], card["cpu_floor"]) == ("burstable", 25)
    print({"kept": card["waiting"]["kept"], "waited_percent": card["waiting"]["waited_percent"]})
    assert card["waiting"]["waited_percent"] > 50
    last = {name: stack.get(f"/vms/{vm['id']}/metrics?span=hour")["cpu_percent"][-1] for name, vm in pair.items()}
    assert last["heavy"] > last["light"] > 0
    assert stack.get("/hosts/local/metrics", user="admin")["at"]
    assert stack.api("GET", "/hosts/local/metrics").status_code == 403
