"""A portal over several lab hosts that all see one pool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.fixtures import Lab, LabHost
from tests.service.host import Host
from tests.stack import Stack, running

PATIENCE = 300.0


@dataclass
class Cloud:
    """`hosts` by the names that the portal knows them by."""

    stack: Stack
    hosts: dict[str, LabHost]

    def view(self, name: str) -> Host:
        host = self.hosts[name]
        return Host(host.uri, self.stack.pool_path, host.netns)

    def facts(self, name: str) -> dict[str, Any]:
        return dict(self.stack.get(f"/hosts/{name}", user="admin"))

    def set(self, method: str, path: str, body: Any) -> None:
        """What an administrator changes at once."""
        answer = self.stack.api(method, path, body, user="admin")
        assert answer.status_code in (200, 201), answer.text

    def post(self, path: str, body: Any = None) -> dict[str, Any]:
        """The operation that an administrator's call has begun."""
        return dict(self.stack.accepted("POST", path, body or {}, user="admin")["operation"])

    def do(self, path: str, body: Any = None) -> dict[str, Any]:
        """The same, when it has ended."""
        return self.stack.finished(self.post(path, body), PATIENCE, user="admin")

    def cordon(self, name: str) -> None:
        self.set("POST", f"/hosts/{name}/actions/cordon", {})

    def uncordon(self, name: str) -> None:
        self.set("POST", f"/hosts/{name}/actions/uncordon", {})

    def runs_on(self, vm_id: str, among: Iterable[str] | None = None) -> list[str]:
        """By the hosts' own word."""
        return [name for name in among or self.hosts if vm_id in self.view(name).running()]

    def host_of(self, vm_id: str) -> str:
        (name,) = self.runs_on(vm_id)
        return name


@contextmanager
def cloud_of(names: tuple[str, ...], directory: Path, tiny: Path) -> Iterator[Cloud]:
    """The first one is the portal's own host, "local"."""
    lab = Lab()
    try:
        hosts = dict(zip(names, lab.up(len(names)), strict=True))
        stack = Stack(directory, hosts[names[0]].uri, lab.directory / "shared" / "pool", tiny)
        with running(stack):
            cloud = Cloud(stack, hosts)
            for name in names[1:]:
                assert cloud.do("/hosts", {"name": name, "uri": hosts[name].uri})["status"] == "succeeded"
            for name, host in hosts.items():
                cloud.set("PATCH", f"/hosts/{name}", {"peer_uri": host.uri})
            yield cloud
    finally:
        lab.down()
