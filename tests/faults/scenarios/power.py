"""The power actions. One machine serves all of them, as long as it can be brought to where a cell begins."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.faults.scenarios.base import Scenario
from tests.stack import wait_until

BOOT_SECONDS = 240  # under emulation, beside other guests
STATES = {"running": "running", "paused": "paused", "stopped": "shut off"}  # ours, virsh's
WAYS = {
    ("running", "stopped"): "force-off",
    ("running", "paused"): "pause",
    ("paused", "stopped"): "force-off",
    ("paused", "running"): "resume",
    ("stopped", "running"): "start",
}


class PowerAction(Scenario):
    before: ClassVar[str]
    after: ClassVar[str]
    needs_guest: ClassVar[bool] = False

    def prepare(self) -> None:
        vm = self.vm(self.bench.vm_id) if self.bench.vm_id else None
        if vm is None or vm["status"] not in STATES:
            self.bench.vm_id = self.new_vm()
        self.vm_id = self.bench.vm_id
        for wanted in ("running", self.before) if self.before == "paused" else (self.before,):
            now = self.vm(self.vm_id)["status"]  # type: ignore[index]
            if now != wanted:
                self.act(self.vm_id, WAYS[now, wanted])
        if self.needs_guest:
            self._wait_for_guest()

    def _wait_for_guest(self) -> None:
        """A lease is the first sign of life that can be seen from outside."""

        def has_lease() -> bool:
            vm = self.vm(self.vm_id)
            return vm is not None and vm["addresses"][0] in self.host.leases("berth")

        wait_until(has_lease, BOOT_SECONDS, "the guest's address")

    def request(self) -> dict[str, Any]:
        action = self.kind.removeprefix("vm.")
        return dict(self.stack.accepted("POST", f"/vms/{self.vm_id}/actions/{action}", {})["operation"])

    def effect(self) -> bool:
        state = self.host.state(self.vm_id)
        assert state in (STATES[self.before], STATES[self.after])
        self.status_becomes(self.vm_id, next(ours for ours, theirs in STATES.items() if theirs == state))
        return state == STATES[self.after]


class Start(PowerAction):
    kind, before, after = "vm.start", "stopped", "running"


class Stop(PowerAction):
    kind, before, after, needs_guest, seconds = "vm.stop", "running", "stopped", True, 60


class Reboot(PowerAction):
    """Whether a guest was restarted cannot be seen; it runs, and an interrupted one says that it was."""

    kind, before, after, needs_guest = "vm.reboot", "running", "running", True

    def check(self, operation: dict[str, Any]) -> None:
        assert self.effect()
        if operation["status"] == "failed":
            assert operation["error"]["code"] == "interrupted", operation


class ForceOff(PowerAction):
    kind, before, after = "vm.force-off", "running", "stopped"


class Pause(PowerAction):
    kind, before, after = "vm.pause", "running", "paused"


class Resume(PowerAction):
    kind, before, after = "vm.resume", "paused", "running"


SCENARIOS = (Start, Stop, Reboot, ForceOff, Pause, Resume)
