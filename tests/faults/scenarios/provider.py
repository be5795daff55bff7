"""What administrators ask for: a host's check, and the resolutions of drift."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.faults.scenarios.base import SMALL, Scenario
from tests.faults.scenarios.machines import exists

# Two turns make a difference into a drift; the observer's own come too seldom for a test.
RECONCILE = """
import json
from vms.models import Drift
from vms.reconcile.turn import Reconciler
reconciler = Reconciler()
reconciler.turn()
reconciler.turn()
rows = Drift.objects.unscoped("test").exclude(state="resolved")
print(json.dumps([[str(drift.pk), drift.kind, drift.object] for drift in rows]))
"""


class Preflight(Scenario):
    """What it leaves is what it saw, and nothing on the host but the pool and the network."""

    kind = "host.preflight"
    seconds = 90

    def prepare(self) -> None:
        if self._host()["health"] != "ready":
            self.stack.finished(self.request(), seconds=120, user="admin")
        self.checked_at = self._host()["checked_at"]

    def request(self) -> dict[str, Any]:
        return dict(self.stack.accepted("POST", "/hosts/local/actions/check", {}, user="admin")["operation"])

    def effect(self) -> bool:
        return bool(self._host()["checked_at"] != self.checked_at)

    def check(self, operation: dict[str, Any]) -> None:
        super().check(operation)
        names = {*self.host.virsh("list", "--all", "--name").split(), *self.host.volumes()}
        assert not [name for name in names if name.startswith("berth-preflight")]

    def clean_up(self) -> None:
        self.prepare()

    def _host(self) -> dict[str, Any]:
        return dict(self.stack.get("/hosts/local", user="admin"))


class Resolution(Scenario):
    """A drift that a test has made, and what is to become of it."""

    resolution: str

    def make_drift(self) -> tuple[str, str]:
        """Its kind and object, once it is so."""
        raise NotImplementedError

    def prepare(self) -> None:
        wanted = self.make_drift()
        found = {(kind, name): id for id, kind, name in self.bench.shell(RECONCILE)}
        assert wanted in found, f"no drift {wanted} in {found}"
        self.drift_id = found[wanted]

    def request(self) -> dict[str, Any]:
        path = f"/drift/{self.drift_id}/actions/{self.resolution}"
        return dict(self.stack.accepted("POST", path, {}, user="admin")["operation"])


class Adopt(Resolution):
    """Of a size that somebody gave a machine by hand."""

    kind, resolution = "vm.adopt", "adopt"

    def make_drift(self) -> tuple[str, str]:
        self.vm_id = self.new_vm()
        self.act(self.vm_id, "force-off")
        self.host.virsh("setmaxmem", self.vm_id, "128M", "--config")
        self.host.virsh("setmem", self.vm_id, "128M", "--config")
        return "definition_changed", f"berth-{self.vm_id}"

    def effect(self) -> bool:
        vm = self.vm(self.vm_id)
        assert vm is not None
        assert vm["memory_mib"] in (96, 128)
        assert self.host.xml(self.vm_id).findtext("memory") == str(128 * 1024)
        return bool(vm["memory_mib"] == 128)

    def clean_up(self) -> None:
        self.delete(self.vm_id)


class Repair(Resolution):
    """Of a machine of which only the disk is left."""

    kind, resolution = "vm.repair", "restore"

    def make_drift(self) -> tuple[str, str]:
        self.vm_id = self.new_vm(SMALL)
        self.host.virsh("destroy", self.vm_id)
        self.host.virsh("undefine", self.vm_id)
        self.host.virsh("vol-delete", f"{self.vm_id}-seed.iso", "berth")
        return "undefined_outside", f"berth-{self.vm_id}"

    def effect(self) -> bool:
        """One that failed half-way leaves what it has repaired so far."""
        return self.vm_id in self.host.domains() and self.host.state(self.vm_id) == "running"

    def clean_up(self) -> None:
        self.delete(self.vm_id)
        assert not exists(self, self.vm_id)


class CleanUp(Resolution):
    """Of a volume that nobody has, with a name of ours."""

    kind, resolution = "drift.clean-up", "clean-up"

    def make_drift(self) -> tuple[str, str]:
        self.volume = f"{uuid4()}.qcow2"
        self.host.virsh("vol-create-as", "berth", self.volume, "1M", "--format", "qcow2")
        return "volume_without_owner", self.volume

    def effect(self) -> bool:
        return self.volume not in self.host.volumes()

    def clean_up(self) -> None:
        if self.volume in self.host.volumes():
            self.host.virsh("vol-delete", self.volume, "berth")


SCENARIOS = (Preflight, Adopt, Repair, CleanUp)
