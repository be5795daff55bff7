"""A random history: requests, faults while they are worked on, and changes behind the portal's back. One model."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.faults.bench import Bench
from tests.faults.scenarios.base import LARGE, SMALL
from tests.faults.scenarios.provider import RECONCILE
from tests.stack import wait_until

MOST_MACHINES = 3
POWER = {"running": "running", "paused": "paused", "shut off": "stopped"}  # virsh's words, ours
AFTER = {"start": "running", "stop": "stopped", "force-off": "stopped", "pause": "paused", "resume": "running"}
BLOWS = st.sampled_from(["nothing"] * 4 + ["cancel", "kill worker", "kill libvirtd", "lose broker"])
PICKS = st.integers(min_value=0, max_value=MOST_MACHINES - 1)


@dataclass
class Machine:
    """What should be. `is_loose`: its power was changed outside, and the reconciler may have an opinion of its own."""

    name: str
    power: str = "running"
    flavor: str = SMALL
    is_loose: bool = False


class History(RuleBasedStateMachine):
    bench: Bench

    def __init__(self) -> None:
        super().__init__()
        self.bench.heal()
        self.machines: dict[str, Machine] = {}

    # -- requests ------------------------------------------------------------------------------------------------

    @rule(blow=BLOWS)
    def create(self, blow: str) -> None:
        if len(self.machines) < MOST_MACHINES:
            self._create(blow)

    def _create(self, blow: str) -> None:
        name = f"h-{secrets.token_hex(4)}"
        body = {"name": name, "image": "tiny", "flavor": SMALL, "tenant": "demo"}
        accepted = self.bench.stack.accepted("POST", "/vms", body)
        if self._end_of(accepted, blow) == "succeeded":
            self.machines[accepted["vm"]["id"]] = Machine(name)

    @rule(pick=PICKS, action=st.sampled_from(sorted(AFTER)), blow=BLOWS)
    def change_power(self, pick: int, action: str, blow: str) -> None:
        vm_id, machine = self._picked(pick)
        end = self._ask(vm_id, f"actions/{action}", {}, blow)
        if end == "succeeded":
            machine.power, machine.is_loose = AFTER[action], False
        elif end == "failed":  # a guest that does not hear the power key
            assert action == "stop", f"{action} failed"

    @rule(pick=PICKS, blow=BLOWS)
    def resize(self, pick: int, blow: str) -> None:
        vm_id, machine = self._picked(pick)
        if self._ask(vm_id, "actions/resize", {"flavor": LARGE}, blow) == "succeeded":
            machine.flavor = LARGE

    @rule(pick=PICKS, mode=st.sampled_from(["full", "linked"]), blow=BLOWS)
    def clone(self, pick: int, mode: str, blow: str) -> None:
        source_id, source = self._picked(pick)
        if len(self.machines) >= MOST_MACHINES:
            return
        name = f"h-{secrets.token_hex(4)}"
        answer = self.bench.stack.api("POST", f"/vms/{source_id}/actions/clone", {"name": name, "mode": mode})
        assert answer.status_code == 202, answer.text
        if self._end_of(answer.json(), blow) == "succeeded":
            self.machines[answer.json()["vm"]["id"]] = Machine(name, flavor=source.flavor)

    @rule(pick=PICKS)
    def rename(self, pick: int) -> None:
        vm_id, machine = self._picked(pick)
        machine.name = f"h-{secrets.token_hex(4)}"
        answer = self.bench.stack.api("PATCH", f"/vms/{vm_id}", {"name": machine.name})
        assert answer.status_code == 200, answer.text

    @rule(pick=PICKS, blow=BLOWS.filter(lambda blow: blow != "cancel"))
    def delete(self, pick: int, blow: str) -> None:
        vm_id, _ = self._picked(pick)
        accepted = self.bench.stack.accepted("DELETE", f"/vms/{vm_id}?purge=true")
        assert self._end_of(accepted, blow) == "succeeded"
        del self.machines[vm_id]

    # -- behind the portal's back --------------------------------------------------------------------------------

    @rule(pick=PICKS)
    def destroy_or_start_outside(self, pick: int) -> None:
        vm_id, machine = self._picked(pick)
        is_off = self.bench.host.state(vm_id) == "shut off"
        self.bench.host.virsh("start" if is_off else "destroy", vm_id)
        machine.power, machine.is_loose = ("running" if is_off else "stopped"), True

    @rule(pick=PICKS)
    def undefine_outside_and_restore(self, pick: int) -> None:
        vm_id, machine = self._picked(pick)
        if self.bench.host.state(vm_id) != "shut off":
            self.bench.host.virsh("destroy", vm_id)
        self.bench.host.virsh("undefine", vm_id)
        assert [finding["kind"] for finding in self.bench.audit()] == ["undefined_outside"]
        drifts = [id for id, kind, _ in self.bench.shell(RECONCILE) if kind == "undefined_outside"]
        accepted = self.bench.stack.accepted("POST", f"/drift/{drifts[0]}/actions/restore", {}, user="admin")
        assert self._end_of(accepted, "nothing") == "succeeded"
        machine.power, machine.is_loose = POWER[self.bench.host.state(vm_id)], True

    # -- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def everything_is_as_it_should_be(self) -> None:
        stack, host = self.bench.stack, self.bench.host
        wait_until(lambda: not active(self.bench), 120, "quiet")
        wait_until(lambda: self.bench.audit() == [], 20, f"an audit that finds nothing: {self.bench.audit()}")
        assert host.domains() == set(self.machines)
        shown = {vm["id"]: vm for vm in stack.get("/vms?limit=100")["results"]}
        assert {id: (vm["name"], vm["flavor"]) for id, vm in shown.items()} == {
            id: (machine.name, machine.flavor) for id, machine in self.machines.items()
        }
        for vm_id, machine in self.machines.items():
            self._check_power(vm_id, machine)

    def _check_power(self, vm_id: str, machine: Machine) -> None:
        state = POWER[self.bench.host.state(vm_id)]
        assert machine.is_loose or state == machine.power
        machine.power = state

        def is_shown() -> bool:
            return bool(self.bench.stack.get(f"/vms/{vm_id}")["status"] == POWER[self.bench.host.state(vm_id)])

        wait_until(is_shown, 15, f"words about {machine.name} that agree with its host")

    def teardown(self) -> None:
        self.bench.heal()
        for vm_id in self.machines:
            self.bench.stack.api("DELETE", f"/vms/{vm_id}?purge=true")
        wait_until(lambda: not active(self.bench), 120, "quiet")

    # -- details -------------------------------------------------------------------------------------------------

    def _picked(self, pick: int) -> tuple[str, Machine]:
        """What may be done never depends on how things went so far: Hypothesis wants to know its rules in advance."""
        if not self.machines:
            self._create("nothing")
        return sorted(self.machines.items())[pick % len(self.machines)]

    def _ask(self, vm_id: str, path: str, body: dict[str, Any], blow: str) -> str:
        """How it ended; "refused" where the portal says that it cannot be done now, as the page would."""
        answer = self.bench.stack.api("POST", f"/vms/{vm_id}/{path}", body)
        if answer.status_code == 409 or answer.json().get("code") == "same_flavor":
            assert answer.json()["detail"], answer.text
            return "refused"
        assert answer.status_code == 202, answer.text
        return self._end_of(answer.json(), blow)

    def _end_of(self, accepted: dict[str, Any], blow: str) -> str:
        """The fault hits while the operation is on its way, wherever it is by then."""
        operation = accepted["operation"]
        if blow == "cancel":
            answer = self.bench.stack.api("POST", f"/operations/{operation['id']}/actions/cancel", {})
            assert answer.status_code in (202, 409), answer.text
        strike(self.bench, blow)
        return str(self.bench.stack.finished(operation, seconds=120, user="admin")["status"])


def strike(bench: Bench, blow: str) -> None:
    if blow == "kill worker":
        bench.kill_worker()
        bench.start_worker()
    elif blow == "kill libvirtd":
        bench.kill_libvirtd()
        bench.lab_host.start_libvirtd()
    elif blow == "lose broker":
        bench.lose_broker()


def active(bench: Bench) -> list[Any]:
    return [
        operation
        for status in ("queued", "running")
        for operation in bench.stack.get(f"/operations?status={status}", user="admin")["results"]
    ]
