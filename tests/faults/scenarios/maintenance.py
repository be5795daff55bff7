"""Emptying hosts: one, and one after the other."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from tests.faults.scenarios.machines import Migrate
from tests.stack import wait_until


class Drain(Migrate):
    """Of the second host, with a machine that runs and one that is off; the first host takes both."""

    kind = "host.drain"
    seconds = 120
    variants: ClassVar = {}

    def prepare(self) -> None:
        self.register_second()
        self.vm_ids = [self.new_vm(), self.new_vm()]
        self.act(self.vm_ids[1], "force-off")
        self.second("uncordon")
        for vm_id in self.vm_ids:
            self.stack.succeeded("POST", f"/vms/{vm_id}/actions/migrate", {"host": "second"}, user="admin")

    def request(self) -> dict[str, Any]:
        return dict(self.stack.accepted("POST", "/hosts/second/actions/drain", {}, user="admin")["operation"])

    def effect(self) -> bool:
        """Each machine is on one host alone, where the portal says that it is. Those under way end by themselves."""
        wait_until(lambda: not any(self._is_busy(vm_id) for vm_id in self.vm_ids), 90, "the end of the moves")
        there = [vm_id for vm_id in self.vm_ids if vm_id in self.bench.second.domains()]
        for vm_id, state in zip(self.vm_ids, ("running", "shut off"), strict=True):
            assert self.bench.state(vm_id) == state, (
                f"{self.bench.state(vm_id)} on {'second' if vm_id in there else 'local'}"
            )
            host = self.stack.get(f"/vms/{vm_id}", user="admin")["host"]
            assert host == ("second" if vm_id in there else "local")
        state = self.state_of("second")
        assert state != "maintenance" or not there
        return state == "maintenance"

    def clean_up(self) -> None:
        for vm_id in self.vm_ids:
            self.delete(vm_id)
            assert self.bench.state(vm_id) == ""
        self.second("cordon")

    def state_of(self, host: str) -> str:
        return str(self.stack.get(f"/hosts/{host}", user="admin")["state"])

    def _is_busy(self, vm_id: str) -> bool:
        return self.stack.get(f"/vms/{vm_id}", user="admin")["operation"] is not None


class Roll(Drain):
    """Over both hosts: whatever is on the first goes to the second, and comes back when that one is drained."""

    kind = "cluster.roll"
    seconds = 300

    def request(self) -> dict[str, Any]:
        self.is_over = threading.Event()
        self.administrator = threading.Thread(target=self._put_back, daemon=True)
        operation = dict(self.stack.accepted("POST", "/clusters/default/actions/roll", {}, user="admin")["operation"])
        self.begun_at = operation["created_at"]
        self.administrator.start()
        return operation

    def effect(self) -> bool:
        """Both hosts were drained; each machine is on one host alone. What was begun ends by itself."""
        wait_until(lambda: all(drain["finished_at"] for drain in self._drains()), 240, "the end of the drains")
        self.is_over.set()
        self.administrator.join()
        Drain.effect(self)
        drained = [drain["resource"]["name"] for drain in self._drains() if drain["status"] == "succeeded"]
        assert drained in ([], ["local"], ["local", "second"])  # none of them twice
        return len(drained) == 2

    def check(self, operation: dict[str, Any]) -> None:
        """One that was declared a failure at its end has drained them all the same."""
        if self.effect() or operation["status"] == "succeeded":
            assert operation["status"] == "succeeded" or operation["error"]["code"] in ("injected", "cancelled")
            assert len(self._drains()) == 2

    def clean_up(self) -> None:
        """Others look for what they have kept on the first host."""
        self.second("uncordon")
        assert self.stack.api("POST", "/hosts/local/actions/uncordon", {}, user="admin").status_code == 200
        self.stack.succeeded("POST", "/hosts/second/actions/drain", {}, user="admin")
        super().clean_up()

    def _drains(self) -> list[dict[str, Any]]:
        """Those of this roll, in their order."""
        rows = self.stack.get("/operations?limit=100", user="admin")["results"]
        found = [row for row in rows if row["kind"] == "host.drain" and row["created_at"] >= self.begun_at]
        return found[::-1]

    def _put_back(self) -> None:
        """As an administrator does when a host was worked on."""
        while not self.is_over.wait(1):
            for name in ("local", "second"):
                if self.state_of(name) == "maintenance":
                    self.stack.api("POST", f"/hosts/{name}/actions/uncordon", {}, user="admin")


SCENARIOS = (Drain, Roll)
