"""Take, return to and delete snapshots, of a machine that runs."""

from __future__ import annotations

import secrets
from typing import Any

from tests.faults.scenarios.base import Scenario
from tests.faults.scenarios.machines import exists
from tests.stack import wait_until

ASK = """
import json
from uuid import UUID
from portal.operations.services import active_on
from vms.workflows.clear_up import clear_up_soon
clear_up_soon(UUID("{vm}"))
print(json.dumps(str(active_on("vm", UUID("{vm}")).pk)))
"""


class _OfAMachine(Scenario):
    """What the portal lists as files of the machine is what its disk really stands on."""

    seconds = 20

    def prepare(self) -> None:
        self.vm_id = self.new_vm()

    def take(self, name: str) -> str:
        path = f"/vms/{self.vm_id}/snapshots"
        self.stack.succeeded("POST", path, {"name": name})
        return next(each["id"] for each in self.listed() if each["name"] == name)

    def listed(self) -> list[dict[str, Any]]:
        answer = self.stack.api("GET", f"/vms/{self.vm_id}/snapshots")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["results"])

    def depth(self) -> int:
        """How many files the disk is, the image left out."""
        name, found = self.host.root_volume(self.vm_id), 0
        while name and not name.startswith("image-"):
            found += 1
            name = self.host.backing(name)
        return found

    def check(self, operation: dict[str, Any]) -> None:
        super().check(operation)
        assert self.host.helpers() == []
        self.status_becomes(self.vm_id, "running")
        assert self.host.state(self.vm_id) == "running"

    def clean_up(self) -> None:
        self.delete(self.vm_id)
        assert not exists(self, self.vm_id)


class Take(_OfAMachine):
    kind = "vm.snapshot"

    def request(self) -> dict[str, Any]:
        return dict(self.stack.accepted("POST", f"/vms/{self.vm_id}/snapshots", {"name": "now"})["operation"])

    def effect(self) -> bool:
        listed, depth = self.listed(), self.depth()
        assert (len(listed), depth) in ((0, 1), (1, 2)), (listed, depth)
        return len(listed) == 1


class Revert(_OfAMachine):
    """What the machine was until then is kept, as the safety point says."""

    kind = "vm.revert"

    def prepare(self) -> None:
        super().prepare()
        self.snapshot_id = self.take("then")
        self.before = self.host.root_volume(self.vm_id)

    def request(self) -> dict[str, Any]:
        path = f"/snapshots/{self.snapshot_id}/actions/revert"
        return dict(self.stack.accepted("POST", path, {"safety": True})["operation"])

    def effect(self) -> bool:
        is_switched, listed = self.host.root_volume(self.vm_id) != self.before, self.listed()
        assert (is_switched, len(listed)) in ((False, 1), (True, 2)), (is_switched, listed)
        assert self.before in self.host.volumes()
        assert self.depth() == 2
        return is_switched


class DeleteSnapshot(_OfAMachine):
    """Cancelled or failed it is listed still, and merged by the next try."""

    kind = "vm.delete-snapshot"

    def prepare(self) -> None:
        super().prepare()
        self.snapshot_id = self.take("then")

    def request(self) -> dict[str, Any]:
        return dict(self.stack.accepted("DELETE", f"/snapshots/{self.snapshot_id}")["operation"])

    def effect(self) -> bool:
        listed, depth = self.listed(), self.depth()
        assert depth in (1, 2)
        return not listed and depth == 1

    def check(self, operation: dict[str, Any]) -> None:
        if operation["status"] == "succeeded":
            wait_until(lambda: self.depth() == 1, 10, "its definition to follow")
        super().check(operation)


class ClearUp(_OfAMachine):
    """What the clock does, of a layer that was frozen for a linked clone that is gone.

    What was merged when it is cancelled or fails stays so: the files tell how far it came, and the audit agrees.
    """

    kind = "vm.clear-up"

    def prepare(self) -> None:
        super().prepare()
        body = {"name": f"f-{secrets.token_hex(4)}", "mode": "linked"}
        clone = self.stack.succeeded("POST", f"/vms/{self.vm_id}/actions/clone", body)["vm"]
        self.delete(str(clone["id"]))
        assert self.depth() == 2

    def request(self) -> dict[str, Any]:
        id = self.bench.shell(ASK.format(vm=self.vm_id))
        return dict(self.stack.get(f"/operations/{id}", user="admin"))

    def effect(self) -> bool:
        depth = self.depth()
        assert depth in (1, 2)
        return depth == 1

    def check(self, operation: dict[str, Any]) -> None:
        if operation["status"] == "succeeded":
            wait_until(self.effect, 10, "its definition to follow")
            super().check(operation)
        else:
            super().check({**operation, "status": "succeeded" if self.effect() else operation["status"]})


SCENARIOS = (Take, Revert, DeleteSnapshot, ClearUp)
