"""A host in memory that has what the rows say, and a reconciler that looks at it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone

from hosts.connections import driver_for
from hosts.driver.memory import MemoryHost
from hosts.observe import Reading
from portal.operations import engine
from portal.operations.models import Operation
from portal.operations.states import State
from tests.audit.mirror import mirrored
from tests.world import World
from vms import observed
from vms.models import VM, Drift
from vms.reconcile.turn import Reconciler


@pytest.fixture
def host(world: World) -> MemoryHost:
    Operation.objects.unscoped("test").all().delete()  # no worker runs in these tests but by hand
    return mirrored(world)


@pytest.fixture
def reconciler() -> Reconciler:
    return Reconciler()


@pytest.fixture
def turn(world: World, host: MemoryHost, reconciler: Reconciler) -> Callable[[], list[str]]:
    """The poll of the observer, then a turn; the kinds of the open drift."""

    def once() -> list[str]:
        states = driver_for(world.host).list_domains()
        observed.take_reading(world.host, Reading(timezone.now(), states, []))
        reconciler.turn()
        return sorted(Drift.objects.unscoped("test").filter(state="open").values_list("kind", flat=True))

    return once


@pytest.fixture
def work() -> Callable[[], list[Operation]]:
    """What a worker would do now; the operations it ended."""

    def run() -> list[Operation]:
        rows = Operation.objects.unscoped("test")
        waiting = list(rows.filter(state=State.QUEUED).order_by("created_at"))
        for operation in waiting:
            engine.run(operation.pk)
        return list(rows.filter(pk__in=[operation.pk for operation in waiting]))

    return run


def fresh(vm: VM) -> VM:
    return VM.objects.unscoped("test").get(pk=vm.pk)
