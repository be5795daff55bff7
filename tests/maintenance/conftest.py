"""The world's host in memory, with neighbours, and operations that are worked on by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hosts.driver.memory import MemoryHost
from hosts.models import Host
from portal.operations import engine
from portal.operations.models import Operation
from tests.audit.mirror import beside, mirrored
from tests.world import World

Work = Callable[..., Operation]


@pytest.fixture
def host(world: World) -> MemoryHost:
    Operation.objects.unscoped("test").all().delete()
    return mirrored(world)


@pytest.fixture
def near(world: World, host: MemoryHost) -> Host:
    """It sees the same storage."""
    return beside(world)


@pytest.fixture
def far(world: World, host: MemoryHost) -> Host:
    """It has storage of its own."""
    return beside(world, "far", is_shared=False)


@pytest.fixture
def work() -> Work:
    """All that is under way goes on until the operation ends, or for so many turns."""

    def go(operation: Operation, turns: int = 30) -> Operation:
        for _ in range(turns):
            rows = Operation.objects.unscoped("test").exclude(finished_at__isnull=False)
            rows.update(not_before=None)
            for id in list(rows.order_by("created_at").values_list("pk", flat=True)):
                engine.run(id)
            operation = Operation.objects.unscoped("test").get(pk=operation.pk)
            if not operation.is_active:
                break
        return operation

    return go
