"""Create, delete, resize, clone."""

from __future__ import annotations

import secrets
from typing import Any, ClassVar

from tests.faults.scenarios.base import LARGE, SMALL, Scenario
from tests.stack import wait_until

GIB = 1024**3


class Create(Scenario):
    kind = "vm.create"

    def request(self) -> dict[str, Any]:
        body = {"name": f"f-{secrets.token_hex(4)}", "image": "tiny", "flavor": SMALL, "tenant": "demo"}
        accepted = self.stack.accepted("POST", "/vms", body)
        self.vm_id = str(accepted["vm"]["id"])
        return dict(accepted["operation"])

    def effect(self) -> bool:
        return exists(self, self.vm_id)

    def check(self, operation: dict[str, Any]) -> None:
        super().check(operation)
        if operation["status"] == "succeeded":
            assert self.host.state(self.vm_id) == "running"
            self.status_becomes(self.vm_id, "running")

    def clean_up(self) -> None:
        self.delete(self.vm_id)
        assert not exists(self, self.vm_id)


class Delete(Scenario):
    """Into the bin: off, and whole."""

    kind = "vm.delete"

    def prepare(self) -> None:
        self.vm_id = self.new_vm()

    def request(self) -> dict[str, Any]:
        return dict(self.stack.accepted("DELETE", f"/vms/{self.vm_id}")["operation"])

    def effect(self) -> bool:
        return is_binned(self, self.vm_id)

    def clean_up(self) -> None:
        self.delete(self.vm_id)
        assert not exists(self, self.vm_id)


class Restore(Scenario):
    """Of a machine that ran, and whose seed somebody removed from the pool meanwhile."""

    kind = "vm.restore"

    def prepare(self) -> None:
        self.vm_id = self.new_vm()
        self.before = self._facts()
        self.stack.succeeded("DELETE", f"/vms/{self.vm_id}")
        self.host.virsh("vol-delete", f"{self.vm_id}-seed.iso", "berth")

    def request(self) -> dict[str, Any]:
        return dict(self.stack.accepted("POST", f"/vms/{self.vm_id}/actions/restore", {})["operation"])

    def effect(self) -> bool:
        is_back = not is_binned(self, self.vm_id)
        if is_back:
            self.status_becomes(self.vm_id, "running")
            assert self._facts() == self.before
        return is_back

    def clean_up(self) -> None:
        if is_binned(self, self.vm_id):
            self.act(self.vm_id, "restore")  # it is no worse for what went wrong
        self.delete(self.vm_id)
        assert not exists(self, self.vm_id)

    def _facts(self) -> list[Any]:
        vm = self.vm(self.vm_id)
        assert vm is not None
        return [vm["name"], vm["nics"][0]["mac"], vm["addresses"], self.host.root_volume(self.vm_id)]


class Purge(Scenario):
    """Out of the bin, for good."""

    kind = "vm.purge"

    def prepare(self) -> None:
        self.vm_id = self.new_vm()
        self.stack.succeeded("DELETE", f"/vms/{self.vm_id}")

    def request(self) -> dict[str, Any]:
        return dict(self.stack.accepted("POST", f"/vms/{self.vm_id}/actions/purge", {})["operation"])

    def effect(self) -> bool:
        return not exists(self, self.vm_id)


class Resize(Scenario):
    """Of a machine that is off, to one with more of everything."""

    kind = "vm.resize"

    def prepare(self) -> None:
        self.vm_id = self.new_vm()
        self.act(self.vm_id, "force-off")

    def request(self) -> dict[str, Any]:
        path = f"/vms/{self.vm_id}/actions/resize"
        return dict(self.stack.accepted("POST", path, {"flavor": LARGE})["operation"])

    def effect(self) -> bool:
        vm, xml = self.vm(self.vm_id), self.host.xml(self.vm_id)
        assert vm is not None
        memory_mib = int(xml.findtext("memory") or 0) // 1024
        info = self.host.virsh("vol-info", self.host.root_volume(self.vm_id), "berth", "--bytes")
        disk_gib = int(info.split("Capacity:")[1].split()[0]) / GIB
        assert (vm["flavor"], vm["memory_mib"]) in ((LARGE, 160), (SMALL, 96))
        assert (memory_mib, disk_gib) == (vm["memory_mib"], vm["disk_gib"])
        assert disk_gib in ((2,) if vm["flavor"] == LARGE else (1, 2))  # a disk that has grown stays so
        return bool(vm["flavor"] == LARGE)

    def clean_up(self) -> None:
        self.act(self.vm_id, "start")
        self.delete(self.vm_id)


class Clone(Scenario):
    """In full, of a machine that is off; the source is as it was. LINKED and LIVE: of one that runs, which goes on.

    SLOW: its copy is so slow that the fault hits a later look at it.
    """

    kind = "vm.clone"
    seconds = 20
    LINKED, LIVE, SLOW = "linked", "live", "second-look"
    variants: ClassVar = {
        LINKED: (("freeze", "copy"), None),
        LIVE: (("freeze", "copy"), None),
        SLOW: (("copy",), ("kill-during", "libvirtd-killed", "host-killed", "cancelled")),
    }

    @property
    def is_live(self) -> bool:
        return self.variant in (self.LINKED, self.LIVE)

    def prepare(self) -> None:
        self.source_id = self.new_vm()
        if not self.is_live:
            self.act(self.source_id, "force-off")
        if self.variant == self.SLOW:
            self.seconds = 60
            self.stack.slow_copies()

    def request(self) -> dict[str, Any]:
        if self.variant == self.SLOW:
            self.stack.order_again("copy")
        body = {"name": f"f-{secrets.token_hex(4)}", "mode": "linked" if self.variant == self.LINKED else "full"}
        accepted = self.stack.accepted("POST", f"/vms/{self.source_id}/actions/clone", body)
        self.vm_id = str(accepted["vm"]["id"])
        return dict(accepted["operation"])

    def effect(self) -> bool:
        wait_until(self.is_source_free, 60, "a source that nothing works on: what was frozen for a copy is merged")
        self.status_becomes(self.source_id, "running" if self.is_live else "stopped")
        assert self.host.copiers() == []
        return exists(self, self.vm_id)

    def is_source_free(self) -> bool:
        source = self.vm(self.source_id)
        assert source is not None
        return source["operation"] is None

    def check(self, operation: dict[str, Any]) -> None:
        super().check(operation)
        if operation["status"] == "succeeded":
            assert self.host.state(self.vm_id) == "running"
            volume = self.host.root_volume(self.vm_id)
            assert volume != self.host.root_volume(self.source_id)
            has_backing = "<backingStore>" in self.host.virsh("vol-dumpxml", volume, "berth")
            assert has_backing is (self.variant == self.LINKED)
            self.status_becomes(self.vm_id, "running")
        if not self.is_live:
            self.act(self.source_id, "start")  # nothing holds it or its disk any more
        self.act(self.source_id, "force-off")
        self.act(self.source_id, "start")  # from the disks that the rows know

    def clean_up(self) -> None:
        self.delete(self.vm_id)
        self.delete(self.source_id)
        assert not exists(self, self.vm_id)


def exists(scenario: Scenario, vm_id: str) -> bool:
    """In the database and on the host, or on neither."""
    vm, traces = scenario.vm(vm_id), scenario.host.traces_of(vm_id)
    assert (vm is not None) == bool(traces), f"the database has {vm}, traces on the host: {traces}"
    if vm is not None:
        assert scenario.host.name(vm_id) == f"berth-{vm_id}"
    return vm is not None


def is_binned(scenario: Scenario, vm_id: str) -> bool:
    """In the bin, off and whole; or in the list, and not about to go."""
    assert exists(scenario, vm_id)
    binned = {vm["id"]: vm for vm in scenario.stack.get("/vms?bin=true")["results"]}
    listed = {vm["id"]: vm for vm in scenario.stack.get("/vms")["results"]}
    assert (vm_id in binned) != (vm_id in listed)
    if vm_id in binned:
        assert binned[vm_id]["status"] == "deleting"
        assert binned[vm_id]["purge_at"]
        assert scenario.host.state(vm_id) == "shut off"
        assert scenario.host.root_volume(vm_id) in scenario.host.volumes()
    else:
        assert listed[vm_id]["purge_at"] is None
    return vm_id in binned


class Migrate(Scenario):
    """Of one that runs, to the second host, which sees the same storage. COLD: of one that is off."""

    kind = "vm.migrate"
    seconds = 60
    COLD = "cold"
    variants: ClassVar = {COLD: (("move",), ("kill-during", "libvirtd-killed", "host-killed", "cancelled"))}

    def prepare(self) -> None:
        self.register_second()
        self.vm_id = self.new_vm()
        if self.variant == self.COLD:
            self.act(self.vm_id, "force-off")
        self.second("uncordon")

    def register_second(self) -> None:
        """Cordoned but for this, so that no other cell has a machine there."""
        if self.stack.api("GET", "/hosts/second", user="admin").status_code == 404:
            uri = self.bench.second_lab_host.uri
            self.stack.succeeded("POST", "/hosts", {"name": "second", "uri": uri}, user="admin")
            self.second("cordon")
        for name, host in (("local", self.bench.lab_host), ("second", self.bench.second_lab_host)):
            answer = self.stack.api("PATCH", f"/hosts/{name}", {"peer_uri": host.uri}, user="admin")
            assert answer.status_code == 200, answer.text

    def second(self, action: str) -> None:
        assert self.stack.api("POST", f"/hosts/second/actions/{action}", {}, user="admin").status_code == 200

    def request(self) -> dict[str, Any]:
        path = f"/vms/{self.vm_id}/actions/migrate"
        return dict(self.stack.accepted("POST", path, {"host": "second"}, user="admin")["operation"])

    def effect(self) -> bool:
        """It is on one host alone, where the portal says that it is."""
        is_there = self.vm_id in self.bench.second.domains()
        assert self.bench.state(self.vm_id)
        host = self.stack.get(f"/vms/{self.vm_id}", user="admin")["host"]
        assert host == ("second" if is_there else "local")
        return is_there

    def check(self, operation: dict[str, Any]) -> None:
        """What has arrived stays there, also where a test declares that a failure."""
        if (operation["error"] or {}).get("code") != "injected" or not self.effect():
            super().check(operation)

    def clean_up(self) -> None:
        self.delete(self.vm_id)
        self.second("cordon")
        assert self.bench.state(self.vm_id) == ""


SCENARIOS = (Create, Delete, Restore, Purge, Resize, Clone, Migrate)
