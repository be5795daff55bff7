"""Backups: made, verified, restored to their machine and to a new one, deleted; and the target's check."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from tests.faults.scenarios.base import Scenario
from tests.faults.scenarios.machines import exists

TARGET = "faults"


class OfBackups(Scenario):
    """A machine with a backup, on a target that shares the pool's small file system."""

    seconds = 30

    @property
    def directory(self) -> Path:
        return self.stack.pool_path.parent / "backups"

    def prepare(self) -> None:
        self.make_target()
        self.vm_id = self.new_vm()
        self.first = self.back_up()

    def make_target(self) -> None:
        if self.stack.api("GET", f"/backup-targets/{TARGET}", user="admin").status_code == 404:
            body = {"slug": TARGET, "path": str(self.directory)}
            self.stack.succeeded("POST", "/backup-targets", body, user="admin")

    def back_up(self) -> str:
        return str(self.stack.succeeded("POST", f"/vms/{self.vm_id}/backups", {"target": TARGET})["backup"]["id"])

    def backup(self, id: str) -> dict[str, Any] | None:
        answer = self.stack.api("GET", f"/backups/{id}")
        assert answer.status_code in (200, 404), answer.text
        return dict(answer.json()) if answer.status_code == 200 else None

    def files(self) -> set[str]:
        return {path.name for path in self.directory.iterdir() if path.name.endswith((".qcow2", ".part"))}

    def is_whole(self, id: str) -> None:
        """Every file that a restore would read is what was written."""
        self.stack.succeeded("POST", f"/backups/{id}/actions/verify", {})

    def clean_up(self) -> None:
        for backup in self.stack.get(f"/backups?vm={self.vm_id}")["results"]:
            self.stack.succeeded("DELETE", f"/backups/{backup['id']}")
        self.delete(self.vm_id)
        assert self.files() == set()


class BackUp(OfBackups):
    """Of what changed since the first: no partial file, the first as it was, and the guest running."""

    kind = "vm.backup"

    def request(self) -> dict[str, Any]:
        self.before = self.files()
        accepted = self.stack.accepted("POST", f"/vms/{self.vm_id}/backups", {"target": TARGET})
        self.backup_id = str(accepted["backup"]["id"])
        return dict(accepted["operation"])

    def effect(self) -> bool:
        backup = self.backup(self.backup_id)
        assert backup is None or backup["status"] == "ready"
        assert (self.files() != self.before) == (backup is not None)
        assert not [name for name in self.files() if name.endswith(".part")]
        assert self.host.state(self.vm_id) == "running"
        return backup is not None

    def check(self, operation: dict[str, Any]) -> None:
        super().check(operation)
        self.is_whole(self.backup_id if self.effect() else self.first)


class Verify(OfBackups):
    kind = "backup.verify"

    def request(self) -> dict[str, Any]:
        return dict(self.stack.accepted("POST", f"/backups/{self.first}/actions/verify", {})["operation"])

    def effect(self) -> bool:
        backup = self.backup(self.first)
        assert backup is not None
        assert backup["damage"] == ""
        return backup["verified_at"] is not None

    def check(self, operation: dict[str, Any]) -> None:
        """A step may have noted what it found and its operation yet have failed: what is noted is true."""
        if operation["status"] == "succeeded":
            assert self.effect()
        self.is_whole(self.first)


class Restore(OfBackups):
    """In place of the disk of a machine that runs: it has the one or the other, and runs again."""

    kind = "backup.restore"
    seconds = 60

    def prepare(self) -> None:
        super().prepare()
        self.disk = self.host.root_volume(self.vm_id)

    def request(self) -> dict[str, Any]:
        return dict(
            self.stack.accepted("POST", f"/backups/{self.first}/actions/restore", {"safety": False})["operation"]
        )

    def effect(self) -> bool:
        now = self.host.root_volume(self.vm_id)
        disks = [name for name in self.host.volumes() if name.endswith(".qcow2") and not name.startswith("image-")]
        assert now in disks
        assert self.host.copiers() == []
        return now != self.disk

    def check(self, operation: dict[str, Any]) -> None:
        super().check(operation)
        self.status_becomes(self.vm_id, "running")
        assert (self.disk in self.host.volumes()) == (operation["status"] != "succeeded")
        self.is_whole(self.first)


class RestoreAsNew(OfBackups):
    kind = "backup.restore-as-new"
    seconds = 60

    def request(self) -> dict[str, Any]:
        body = {"name": f"f-{secrets.token_hex(4)}"}
        accepted = self.stack.accepted("POST", f"/backups/{self.first}/actions/restore", body)
        self.new_id = str(accepted["vm"]["id"])
        return dict(accepted["operation"])

    def effect(self) -> bool:
        assert self.host.copiers() == []
        return exists(self, self.new_id)

    def check(self, operation: dict[str, Any]) -> None:
        super().check(operation)
        if operation["status"] == "succeeded":
            self.status_becomes(self.new_id, "running")

    def clean_up(self) -> None:
        self.delete(self.new_id)
        super().clean_up()


class Drop(OfBackups):
    """Of one that another stands on, which stays whole whatever happens."""

    kind = "backup.delete"
    seconds = 60

    def prepare(self) -> None:
        super().prepare()
        self.second = self.back_up()

    def request(self) -> dict[str, Any]:
        return dict(self.stack.accepted("DELETE", f"/backups/{self.first}")["operation"])

    def effect(self) -> bool:
        second = self.backup(self.second)
        assert second is not None
        is_gone = self.backup(self.first) is None
        if is_gone:
            assert (second["kind"], second["parent"]) == ("full", None)
            assert len(self.files()) == 1
        return is_gone

    def check(self, operation: dict[str, Any]) -> None:
        super().check(operation)
        self.is_whole(self.second)


class CheckTarget(OfBackups):
    """What it leaves is what it saw."""

    kind = "backup-target.check"

    def prepare(self) -> None:
        self.make_target()
        self.checked_at = self._reach()["checked_at"]

    def request(self) -> dict[str, Any]:
        path = f"/backup-targets/{TARGET}/actions/check"
        return dict(self.stack.accepted("POST", path, {}, user="admin")["operation"])

    def effect(self) -> bool:
        return bool(self._reach()["checked_at"] != self.checked_at)

    def check(self, operation: dict[str, Any]) -> None:
        """It notes host by host, so one that failed may have noted something."""
        assert self.effect() or operation["status"] != "succeeded"

    def clean_up(self) -> None:
        """What a fault made it see is put right."""
        self.stack.finished(self.request(), user="admin")
        assert self._reach()["reached"]

    def _reach(self) -> dict[str, Any]:
        reaches = self.stack.get(f"/backup-targets/{TARGET}", user="admin")["hosts"]
        return dict(next(reach for reach in reaches if reach["host"] == "local"))


SCENARIOS = (BackUp, Verify, Restore, RestoreAsNew, Drop, CheckTarget)
