"""What scenarios share."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.faults.bench import Bench
from tests.stack import wait_until

SMALL, LARGE = "fault-small", "fault-large"
FLAVORS = ({"slug": SMALL, "memory_mib": 96, "disk_gib": 1}, {"slug": LARGE, "memory_mib": 160, "disk_gib": 2})


class Scenario:
    """One operation of a kind. `prepare`, `request`, then `check` of how it ended, then `clean_up`.

    `seconds` is what the operation takes by itself, beyond what recovery may take.
    """

    kind: ClassVar[str]
    # Other ways in which it is asked for: the steps that differ then, and the faults that hit them (None: all).
    variants: ClassVar[Mapping[str, tuple[tuple[str, ...], tuple[str, ...] | None]]] = {}
    seconds: ClassVar[float] = 15

    def __init__(self, bench: Bench, variant: str = "") -> None:
        self.bench, self.variant = bench, variant
        self.stack = bench.stack
        self.host = bench.host

    def prepare(self) -> None:
        """Whatever must be so before it can be asked for."""

    def request(self) -> dict[str, Any]:
        """Ask for it; the operation as the portal answered."""
        raise NotImplementedError

    def effect(self) -> bool:
        """Whether what was asked for is there in full. AssertionError for anything between yes and no."""
        raise NotImplementedError

    def check(self, operation: dict[str, Any]) -> None:
        """It succeeded where its effect is there, and nowhere else; where it failed, it says why."""
        assert self.effect() == (operation["status"] == "succeeded"), operation
        if operation["status"] == "failed":
            assert operation["error"]["code"] != "internal_error", operation
            assert operation["error"]["detail"], operation

    def clean_up(self) -> None:
        """Leave the portal as the next cell may find it."""

    # -- machines ------------------------------------------------------------------------------------------------

    def new_vm(self, flavor: str = SMALL) -> str:
        """The id of a machine that runs."""
        return str(self.stack.create(f"f-{secrets.token_hex(4)}", flavor=flavor)["id"])

    def vm(self, vm_id: str) -> dict[str, Any] | None:
        answer = self.stack.api("GET", f"/vms/{vm_id}")
        assert answer.status_code in (200, 404), answer.text
        return dict(answer.json()) if answer.status_code == 200 else None

    def act(self, vm_id: str, action: str, body: dict[str, Any] | None = None) -> None:
        self.stack.succeeded("POST", f"/vms/{vm_id}/actions/{action}", body or {})

    def delete(self, vm_id: str) -> None:
        """For good, also out of the bin."""
        vm = self.vm(vm_id)
        if vm is not None and vm["actions"]["purge"]["allowed"]:
            self.act(vm_id, "purge")
        elif vm is not None:
            self.stack.succeeded("DELETE", f"/vms/{vm_id}?purge=true")

    def status_becomes(self, vm_id: str, status: str) -> None:
        """What is shown follows the host by events and polls, so it may take a moment."""

        def is_shown() -> bool:
            vm = self.vm(vm_id)
            return vm is not None and vm["status"] == status

        wait_until(is_shown, 15, f"the page's words about the machine: {status}; it says {self.vm(vm_id)}")
