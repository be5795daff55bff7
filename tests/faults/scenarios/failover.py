"""A host that fails, what is brought up elsewhere, and its way back."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.faults.scenarios.base import Scenario
from tests.service.host import Host
from tests.stack import wait_until

NAME = "second"


class OfSecondHost(Scenario):
    """A machine on a second host, whose pool is the directory that the bench's own has."""

    seconds: ClassVar[float] = 60

    def prepare(self) -> None:
        lab = self.bench.lab_host.lab
        lab.run("start-host", "2")
        self.second = Host(lab.run("sock", "2"), self.stack.pool_path, lab.run("netns", "2"))
        self._add_host(lab.run("sock", "2"), f"{lab.id}/2")
        self.wait_until_cleared()  # what another cell has left
        self.vm_id = self._machine_there()

    def effect(self) -> bool:
        return bool(self.facts()["state"] == "failed") and self.is_here()

    def is_here(self) -> bool:
        """On the bench's own host, and on that alone."""
        return self.vm_id in self.host.domains() and self.host.state(self.vm_id) == "running"

    def facts(self) -> dict[str, Any]:
        return dict(self.stack.get(f"/hosts/{NAME}", user="admin"))

    def fence(self) -> dict[str, Any]:
        return dict(self.stack.accepted("POST", f"/hosts/{NAME}/actions/fence", {}, user="admin")["operation"])

    def power_on(self) -> None:
        self.bench.lab_host.lab.run("start-host", "2")
        wait_until(lambda: self.facts()["health"] == "ready", 60, "the second host to be seen")

    def wait_until_cleared(self) -> None:
        wait_until(lambda: self.facts()["state"] != "failed", 120, "the second host to be cleared")

    def clean_up(self) -> None:
        """The second host stays, cordoned: the machines of other scenarios are not placed there."""
        self.power_on()
        self.wait_until_cleared()
        self.set_state("cordon")
        wait_until(lambda: (self.vm(self.vm_id) or {}).get("operation") is None, 120, "an end of what works on it")
        assert not {self.vm_id} <= self.host.domains() & self.second.domains(), "it is defined on both hosts"
        self.delete(self.vm_id)

    def set_state(self, action: str, host: str = NAME) -> None:
        assert self.stack.api("POST", f"/hosts/{host}/actions/{action}", {}, user="admin").status_code == 200

    def _add_host(self, uri: str, plug: str) -> None:
        if self.stack.api("GET", f"/hosts/{NAME}", user="admin").status_code == 404:
            self.stack.succeeded("POST", "/hosts", {"name": NAME, "uri": uri}, user="admin")
        agent = {"agent": "fence_lab", "options": {"plug": plug}}
        assert self.stack.api("PUT", f"/hosts/{NAME}/fence-agent", agent, user="admin").status_code == 200

    def _machine_there(self) -> str:
        self.set_state("uncordon")
        self.set_state("cordon", "local")
        try:
            return self.new_vm()
        finally:
            self.set_state("uncordon", "local")
            self.set_state("cordon")


class Failover(OfSecondHost):
    """By its fence agent. Where that was cancelled the host is off, and nothing of it is elsewhere."""

    kind = "host.failover"

    def request(self) -> dict[str, Any]:
        return self.fence()

    def check(self, operation: dict[str, Any]) -> None:
        super().check(operation)
        assert not self.is_here() or self.facts()["state"] == "failed"


class Recover(OfSecondHost):
    """Of one machine, once its host is off for certain."""

    kind = "vm.recover"

    def request(self) -> dict[str, Any]:
        self.fence()

        def begun() -> dict[str, Any] | None:
            rows = self.stack.get(f"/operations?target={self.vm_id}", user="admin")["results"]
            return next((row for row in rows if row["kind"] == self.kind), None)

        return dict(wait_until(begun, 60, "a recovery of the machine", self.stack.logs))


class Return(OfSecondHost):
    """With the definition of a machine that runs elsewhere by now."""

    kind = "host.return"

    def prepare(self) -> None:
        super().prepare()
        assert self.stack.finished(self.fence(), user="admin")["status"] == "succeeded"
        wait_until(self.is_here, 60, "the machine on the other host")

    def request(self) -> dict[str, Any]:
        """Asked for, or begun by itself when it answers again: whoever is first."""
        self.bench.lab_host.lab.run("start-host", "2")
        answer = self.stack.api("POST", f"/hosts/{NAME}/actions/clear", {}, user="admin")
        if answer.status_code == 409:
            return dict(self.stack.get(f"/operations/{answer.json()['operation']}", user="admin"))
        assert answer.status_code == 202, answer.text
        return dict(answer.json()["operation"])

    def effect(self) -> bool:
        is_in = bool(self.facts()["state"] != "failed")
        assert not is_in or self.vm_id not in self.second.domains()
        assert self.is_here()
        return is_in


SCENARIOS = (Failover, Recover, Return)
