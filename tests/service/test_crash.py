"""A worker killed in the middle of a create: the machine runs, once, or nothing of it is left."""

from __future__ import annotations

import time

import pytest

from tests.service.host import Host
from tests.stack import Stack, wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]
STEPS = ("image", "disk", "seed", "address", "define", "start")


# The worst moment is after a step's effect and before it is journaled; before the first and the last for good measure.
POINTS = [("before", "image"), *(("after", step) for step in STEPS), ("before", "start")]


@pytest.mark.parametrize(("moment", "step"), POINTS)
def test_killed_at_a_step(stack: Stack, host: Host, step: str, moment: str) -> None:
    before = stack.get("/quotas/demo")["used"]
    stack.kill("worker")
    stack.start_part("worker", BERTH_TEST_HOLD=f"{moment}:{step}")
    name = f"k-{moment}-{step}"
    accepted = stack.accepted("POST", "/vms", {"name": name, "image": "tiny", "flavor": "nano", "tenant": "demo"})
    wait_until((stack.data / "held").exists, 30, f"the worker at {moment} {step}\n{stack.logs()}")
    stack.kill("worker")
    (stack.data / "held").unlink()
    stack.start_part("worker")
    began = time.monotonic()
    operation = stack.finished(accepted["operation"], seconds=30)
    print(f"ended {time.monotonic() - began:.1f} s after the new worker's start")
    vm_id = accepted["vm"]["id"]
    if operation["status"] == "succeeded":
        assert host.state(vm_id) == "running"
        assert [d for d in host.domains() if host.name(d).startswith("berth-")].count(vm_id) == 1
        stack.delete(accepted["vm"])
    assert host.traces_of(vm_id) == []
    assert stack.get("/quotas/demo")["used"] == before
