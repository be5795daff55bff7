"""Two hosts in memory that see one storage, and a fence agent that is a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from hosts import fence_trust, fencing
from hosts.connections import driver_for
from hosts.driver import errors, memory
from hosts.driver.memory import MemoryHost
from hosts.failure import Power
from hosts.models import FenceAgent, Host, StoragePool
from portal.operations import engine
from portal.operations.models import Operation
from portal.operations.states import ACTIVE, State
from tests.audit.mirror import mirrored
from tests.world import World, make_host
from vms.models import VM

AGENT = """#!/bin/sh
# Its power is the word in the file POWER; each call is noted in CALLS.
cd "${0%/*}"
while read -r line; do echo "$line" >>CALLS; case $line in action=*) action=${line#action=} ;; esac; done
[ ! -e BROKEN ] || exit 1
read -r power <POWER
case $action in
  status) [ "$power" = on ] || exit 2 ;;
  off) [ -e STUCK ] || echo off >POWER ;;
esac
"""


class Agent:
    """The agent `fence_test`, as the installation's owner has put it there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        program = directory / "fence_test"
        program.write_text(AGENT)
        program.chmod(0o755)
        directory.chmod(0o755)
        self.power = "on"

    @property
    def power(self) -> str:
        return (self.directory / "POWER").read_text().strip()

    @power.setter
    def power(self, value: str) -> None:
        (self.directory / "POWER").write_text(f"{value}\n")

    @property
    def calls(self) -> list[str]:
        path = self.directory / "CALLS"
        return path.read_text().splitlines() if path.exists() else []

    def fail(self, how: str) -> None:
        """BROKEN: it can do nothing. STUCK: it says that it cut the power, and has not."""
        (self.directory / how).touch()

    def mend(self) -> None:
        for how in ("BROKEN", "STUCK"):
            (self.directory / how).unlink(missing_ok=True)


@pytest.fixture
def agent(settings: object, tmp_path: Path) -> Agent:
    directory = tmp_path / "agents"
    directory.mkdir()
    settings.FENCE_AGENTS = str(directory)  # type: ignore[attr-defined]
    return Agent(directory)


@pytest.fixture
def host(world: World, agent: Agent) -> MemoryHost:
    """The host with all machines, on a pool that the spare one shares."""
    Operation.objects.unscoped("test").all().delete()  # no worker runs in these tests but by hand
    StoragePool.objects.filter(host=world.host).update(storage_id="one")
    vouch_for(FenceAgent.objects.create(host=world.host, agent="fence_test"))
    return mirrored(world)


@pytest.fixture
def spare(world: World, host: MemoryHost) -> Host:
    """Another host that sees the same files."""
    found = make_host("spare", uri=f"memory://{uuid4()}")
    StoragePool.objects.filter(host=found).update(storage_id="one")
    there = memory.host(found.uri)
    there.volumes, there.contents, there.unfinished = host.volumes, host.contents, host.unfinished
    driver = driver_for(found)
    driver.ensure_pool("berth", Path(found.pool_path))
    driver.ensure_network("berth", [world.host.network_cidr])
    return found


@pytest.fixture
def work() -> Callable[[], list[Operation]]:
    """What workers would do until nothing is left that is due; all operations, oldest first."""

    def run() -> list[Operation]:
        rows = Operation.objects.unscoped("test")
        for _ in range(40):
            rows.filter(state__in=ACTIVE).update(not_before=None)
            waiting = list(rows.filter(state__in=[State.QUEUED, State.UNWINDING]).order_by("created_at"))
            for operation in waiting:
                engine.run(operation.pk)
            if not waiting:
                break
        return list(rows.order_by("created_at"))

    return run


def vouch_for(agent: FenceAgent) -> None:
    """It has said that its host is on while that answered."""
    fence_trust.note(agent, Power.ON, fencing.fingerprint(agent))


def goes_silent(host: MemoryHost, calls: int = 200) -> None:
    for name in ("list_domains", "define", "start", "state", "volume", "shutdown", "destroy", "undefine"):
        for _ in range(calls):
            host.fail_next(name, errors.Unreachable("no route to host"))


def comes_back(host: MemoryHost) -> None:
    host.faults.clear()
    host.lose_power()


def fresh(vm: VM) -> VM:
    return VM.objects.unscoped("test").select_related("host").get(pk=vm.pk)


def powers(host: Host) -> dict[UUID, str]:
    return {uuid: str(power) for uuid, (_, power) in memory.host(host.uri).domains.items()}
