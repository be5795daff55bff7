"""A host whose daemon hangs: accepted work waits and says why, pages answer, and nothing is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.lab.fixtures import LabHost
from tests.service.host import Host
from tests.stack import Stack, wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]


@contextmanager
def hanging(lab_host: LabHost) -> Iterator[None]:
    pid = lab_host.libvirtd_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_create_waits_for_its_host_and_then_succeeds(stack: Stack, lab_host: LabHost, host: Host) -> None:
    body = {"name": "patient", "image": "tiny", "flavor": "nano", "tenant": "demo"}
    with hanging(lab_host):
        accepted = stack.accepted("POST", "/vms", body)

        def waits() -> str:
            return str(stack.get(f"/operations/{accepted['operation']['id']}")["waiting_for"])

        assert "host" in wait_until(waits, 40, "words about what it waits for", stack.logs)
        for path in ("/healthz", "/accounts/login/"):
            assert requests.get(stack.url + path, timeout=5).status_code == 200
        assert stack.get(f"/vms/{accepted['vm']['id']}")["status"] == "building"
    assert stack.finished(accepted["operation"], seconds=90)["status"] == "succeeded"
    assert host.state(accepted["vm"]["id"]) == "running"
    stack.delete(accepted["vm"])


def test_what_waits_can_be_cancelled_and_leaves_nothing(stack: Stack, lab_host: LabHost, host: Host) -> None:
    before = stack.get("/quotas/demo")["used"]
    body = {"name": "impatient", "image": "tiny", "flavor": "nano", "tenant": "demo"}
    with hanging(lab_host):
        accepted = stack.accepted("POST", "/vms", body)
        path = f"/operations/{accepted['operation']['id']}"
        wait_until(lambda: stack.get(path)["waiting_for"], 40, "words about what it waits for")
        assert stack.api("POST", f"{path}/actions/cancel", {}).status_code == 202
    assert stack.finished(accepted["operation"], seconds=90)["status"] == "cancelled"
    assert host.traces_of(accepted["vm"]["id"]) == []
    assert stack.get("/quotas/demo")["used"] == before
