"""Volumes, and the pools that they lie in. Each cell leaves the guest that serves all of them as it found it."""

from __future__ import annotations

import secrets
from typing import Any
from xml.etree import ElementTree

from tests.faults.scenarios.base import SMALL, Scenario
from tests.stack import wait_until

GIB = 1024**3
FAST = "fault-fast"


class OfVolume(Scenario):
    """`vm_id` runs, and listens; `volume_id` is one that is whole."""

    is_attached = False

    def prepare(self) -> None:
        self._a_second_pool()
        self.vm_id = self._guest()
        body: dict[str, Any] = {"name": f"v-{secrets.token_hex(4)}", "size_gib": 1, "tenant": "demo"}
        if self.is_attached:
            body["vm"] = self.vm_id
        self.volume_id = str(self.stack.succeeded("POST", "/volumes", body)["volume"]["id"])

    def _a_second_pool(self) -> None:
        if self.stack.api("GET", f"/storage-classes/{FAST}", user="admin").status_code == 404:
            self.stack.api("POST", "/storage-classes", {"slug": FAST, "name": "Fast", "read_iops": 900}, user="admin")
            path = str(self.stack.pool_path.parent / FAST)
            body = {"name": FAST, "storage_class": FAST, "path": path}
            self.stack.succeeded("POST", "/hosts/local/pools", body, user="admin")

    def _guest(self) -> str:
        """Kept from cell to cell. A lease is the first sign that can be seen from outside that it listens."""
        vm = self.vm(self.bench.vm_id) if self.bench.vm_id else None
        if vm is None or vm["status"] not in ("running", "stopped", "paused"):
            self.bench.vm_id = self.new_vm(SMALL)
        elif vm["status"] != "running":
            self.act(self.bench.vm_id, "resume" if vm["status"] == "paused" else "start")
        vm_id = self.bench.vm_id

        def has_lease() -> bool:
            found = self.vm(vm_id)
            return found is not None and found["addresses"][0] in self.host.leases("berth")

        wait_until(has_lease, 240, "the guest's address")
        return vm_id

    def volume(self) -> dict[str, Any] | None:
        answer = self.stack.api("GET", f"/volumes/{self.volume_id}")
        assert answer.status_code in (200, 404), answer.text
        return dict(answer.json()) if answer.status_code == 200 else None

    def action(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        path = f"/volumes/{self.volume_id}/actions/{name}"
        return dict(self.stack.accepted("POST", path, body)["operation"])

    def serials(self, *, live: bool) -> set[str]:
        """Of the disks that the guest has now, or would have at its next start."""
        words = self.host.virsh("dumpxml", self.vm_id, *([] if live else ["--inactive"]))
        return {disk.text or "" for disk in ElementTree.fromstring(words).iterfind("devices/disk/serial")}

    def has_disk(self) -> bool:
        """In the guest that runs and in its definition, or in neither."""
        serial = self.volume_id.replace("-", "")[-20:]
        is_defined = serial in self.serials(live=False)
        if self.host.state(self.vm_id) == "running":
            assert is_defined == (serial in self.serials(live=True)), "the guest and its definition differ"
        return is_defined

    def files(self) -> dict[str, str]:
        """Pool by file."""
        pools = {"berth": self.stack.pool_path, FAST: self.stack.pool_path.parent / FAST}
        return {path.name: pool for pool, place in pools.items() for path in place.iterdir()}

    def is_attached_by_the_book(self) -> bool:
        volume = self.volume()
        return volume is not None and volume["vm"] is not None

    def clean_up(self) -> None:
        volume = self.volume()
        if volume is None:
            return
        if volume["vm"]:
            wait_until(self._is_detached, 300, "the guest to let go of the disk: one that just starts takes its time")
        self.stack.succeeded("DELETE", f"/volumes/{self.volume_id}")

    def _is_detached(self) -> bool:
        return bool(self.stack.finished(self.action("detach", {}))["status"] == "succeeded")


class Create(OfVolume):
    """For a guest that runs: it has the disk, or there is nothing of it."""

    kind = "volume.create"

    def prepare(self) -> None:
        self._a_second_pool()
        self.vm_id = self._guest()

    def request(self) -> dict[str, Any]:
        body = {"name": f"v-{secrets.token_hex(4)}", "size_gib": 1, "tenant": "demo", "vm": self.vm_id}
        self.before = set(self.files())
        accepted = self.stack.accepted("POST", "/volumes", body)
        self.volume_id = str(accepted["volume"]["id"])
        return dict(accepted["operation"])

    def effect(self) -> bool:
        is_there = self.volume() is not None
        assert self.has_disk() == is_there
        new = {name for name in set(self.files()) - self.before if name.endswith(".qcow2")}
        assert len(new) == is_there, new
        return is_there


class Delete(OfVolume):
    kind = "volume.delete"

    def request(self) -> dict[str, Any]:
        self.before = len(self.files())
        return dict(self.stack.accepted("DELETE", f"/volumes/{self.volume_id}")["operation"])

    def effect(self) -> bool:
        return self.volume() is None


class Attach(OfVolume):
    kind = "volume.attach"

    def request(self) -> dict[str, Any]:
        return self.action("attach", {"vm": self.vm_id})

    def effect(self) -> bool:
        assert self.has_disk() == self.is_attached_by_the_book()
        return self.has_disk()


class Detach(OfVolume):
    kind, is_attached, seconds = "volume.detach", True, 80

    def request(self) -> dict[str, Any]:
        return self.action("detach", {})

    def effect(self) -> bool:
        assert self.has_disk() == self.is_attached_by_the_book()
        return not self.has_disk()


class Grow(OfVolume):
    """Under a guest that runs. What has grown stays so, also where the books know nothing of it."""

    kind, is_attached = "volume.grow", True

    def request(self) -> dict[str, Any]:
        return self.action("grow", {"size_gib": 2})

    def effect(self) -> bool:
        volume = self.volume()
        assert volume is not None
        words = self.host.virsh("domblkinfo", self.vm_id, volume["target"])
        there = int(words.split("Capacity:")[1].split()[0])
        assert there >= volume["size_gib"] * GIB
        return bool(volume["size_gib"] == 2)


class Move(OfVolume):
    """Under a guest that runs, which is on the new file or on the old one, and on one of them only."""

    kind, is_attached, seconds = "volume.move", True, 30

    def request(self) -> dict[str, Any]:
        self.before = set(self.files())
        return self.action("move", {"storage_class": FAST})

    def effect(self) -> bool:
        assert self.has_disk()
        assert self.host.copiers() == []
        volume = self.volume()
        assert volume is not None
        assert self.host.state(self.vm_id) == "running"
        is_moved = volume["storage_class"] == FAST
        root = ElementTree.fromstring(self.host.virsh("dumpxml", self.vm_id, "--inactive"))
        source = root.find(f"devices/disk/target[@dev='{volume['target']}']/../source")
        assert source is not None
        assert source.get("pool") == (FAST if is_moved else "berth"), source.attrib
        assert source.get("volume") in self.files()
        return is_moved

    def check(self, operation: dict[str, Any]) -> None:
        """What has switched stays so, also where a test declares that a failure."""
        if (operation["error"] or {}).get("code") != "injected" or not self.effect():
            super().check(operation)


class RegisterPool(Scenario):
    kind = "pool.register"

    def request(self) -> dict[str, Any]:
        self.name = f"p-{secrets.token_hex(4)}"
        body = {"name": self.name, "storage_class": "standard", "path": str(self.stack.pool_path.parent / self.name)}
        return dict(self.stack.accepted("POST", "/hosts/local/pools", body, user="admin")["operation"])

    def effect(self) -> bool:
        """Known to both or to neither."""
        is_known = self.stack.api("GET", f"/hosts/local/pools/{self.name}", user="admin").status_code == 200
        assert is_known == (self.name in self.host.virsh("pool-list", "--all", "--name").split())
        return is_known

    def clean_up(self) -> None:
        if self.effect():
            self.stack.succeeded("DELETE", f"/hosts/local/pools/{self.name}", user="admin")


class RemovePool(RegisterPool):
    kind = "pool.remove"

    def prepare(self) -> None:
        self.stack.finished(super().request(), user="admin")

    def request(self) -> dict[str, Any]:
        path = f"/hosts/local/pools/{self.name}"
        return dict(self.stack.accepted("DELETE", path, user="admin")["operation"])

    def effect(self) -> bool:
        return not super().effect()

    def clean_up(self) -> None:
        if not self.effect():
            self.stack.succeeded("DELETE", f"/hosts/local/pools/{self.name}", user="admin")


SCENARIOS = (Create, Delete, Attach, Detach, Grow, Move, RegisterPool, RemovePool)
