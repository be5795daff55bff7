"""The world, its host in memory, and whoever works there when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from hosts.driver import memory
from hosts.driver.memory import MemoryHost
from portal.operations import engine
from portal.operations.models import Operation
from portal.quotas import ledger
from tests.audit.mirror import mirrored
from tests.world import Caller, World
from vms.audit.run import audit
from vms.models import VM, Volume


@dataclass
class Bench:
    world: World
    host: MemoryHost
    api: Caller

    @property
    def web(self) -> VM:
        return VM.objects.unscoped("test").get(pk=self.world.machines["web"].pk)

    def post(self, path: str, body: object) -> Any:
        return self.api.post(f"/api/v1{path}", body)

    def get(self, path: str) -> Any:
        return self.api.get(f"/api/v1{path}")

    def delete(self, path: str) -> Any:
        return self.api.delete(f"/api/v1{path}")

    def volume(self, id: str) -> Volume:
        return Volume.objects.unscoped("test").select_related("layer__pool", "vm").get(pk=id)

    def create(self, **body: object) -> Volume:
        """A volume that is there."""
        answer = self.post("/volumes", {"name": "data", "size_gib": 2, "tenant": "acme", **body})
        assert answer.status_code == 202, answer.content
        self.succeed(answer.json())
        return self.volume(answer.json()["volume"]["id"])

    def act(self, volume: Volume, action: str, body: dict[str, object] | None = None) -> Volume:
        answer = self.post(f"/volumes/{volume.pk}/actions/{action}", body or {})
        assert answer.status_code == 202, answer.content
        self.succeed(answer.json())
        return self.volume(str(volume.pk))

    def succeed(self, accepted: dict[str, dict[str, str]]) -> Operation:
        operation = self.run(accepted["operation"]["id"])
        assert operation.status == "succeeded", operation.error
        return operation

    def run(self, id: str) -> Operation:
        """To its end, as a worker would, each time it is rung for."""
        rows = Operation.objects.unscoped("test")
        for _ in range(30):
            engine.run(id)
            operation = rows.get(pk=id)
            if not operation.is_active:
                return operation
            rows.filter(pk=id).update(not_before=None)
        raise AssertionError(f"{operation.title} does not end: {operation.state}, {operation.waiting_for}")

    def disks(self, vm: VM) -> dict[str, tuple[str, str]]:
        """Of the guest that runs."""
        running = self.host.running[vm.pk]
        return {target: (disk.pool, disk.volume) for target, disk in sorted(running.items())}

    def defined(self, vm: VM) -> dict[str, tuple[str, str]]:
        return {disk.target: (disk.pool, disk.volume) for disk in self.host.domains[vm.pk][0].disks}

    def used(self) -> tuple[int, int]:
        """GiB of disk that acme and the host have given out."""
        accounts = self.world.acme.pk, self.world.host.pk
        return tuple(ledger.used(account).get("disk_gib", 0) for account in accounts)  # type: ignore[return-value]

    def is_clean(self) -> bool:
        found = [finding for finding in audit() if finding.vm_id != self.world.machines["busy"].pk]
        assert found == []
        return True


@pytest.fixture
def bench(world: World) -> Bench:
    Operation.objects.unscoped("test").all().delete()
    world.pool("fast", read_iops=500, write_mib_s=20)
    host = mirrored(world)
    memory.host(world.host.uri)
    return Bench(world, host, world.caller("member"))


@pytest.fixture
def refused(bench: Bench) -> Callable[..., dict[str, object]]:
    def ask(path: str, body: dict[str, object], status: int = 409) -> dict[str, object]:
        answer = bench.post(path, body)
        assert answer.status_code == status, answer.content
        return dict(answer.json())

    return ask
