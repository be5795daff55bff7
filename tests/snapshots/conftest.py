"""A host in memory that has what the rows say, and a worker by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from portal.operations import engine
from portal.operations.models import Operation
from portal.operations.states import State
from portal.tenancy.gate import Actor, actor_for
from tests.reconcile.conftest import host, reconciler, turn
from tests.world import World
from vms.models import VM, Snapshot
from vms.services import snapshots

__all__ = ["host", "reconciler", "turn"]

Take = Callable[..., Snapshot]
Work = Callable[[], list[Operation]]


@pytest.fixture
def owner(world: World) -> Actor:
    return actor_for(world.people["owner"])


@pytest.fixture
def work() -> Work:
    """What a worker would do now, until nothing more is due at once; the operations that were waiting."""

    def run() -> list[Operation]:
        rows = Operation.objects.unscoped("test")
        waiting = list(rows.filter(state=State.QUEUED).order_by("created_at").values_list("pk", flat=True))
        for id in waiting:
            for _ in range(20):
                engine.run(id)
        return list(rows.filter(pk__in=waiting))

    return run


@pytest.fixture
def take(world: World, owner: Actor, work: Work) -> Take:
    """A snapshot that was taken."""

    def taken(vm: VM, name: str = "one", **more: object) -> Snapshot:
        snapshot, _ = snapshots.take_snapshot(actor=owner, vm=again(vm), name=name, **more)  # type: ignore[arg-type]
        (operation,) = work()
        assert operation.state == "succeeded", operation.error
        return kept(snapshot)

    return taken


def again(vm: VM) -> VM:
    """As it is now."""
    return VM.objects.unscoped("test").get(pk=vm.pk)


def kept(snapshot: Snapshot) -> Snapshot:
    return Snapshot.objects.unscoped("test").get(pk=snapshot.pk)
