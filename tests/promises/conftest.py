"""The bench of tests/volumes, whose host can hold guests to all that it promises."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from hosts.driver.memory.host import CONTROLS
from hosts.models import Host
from tests.volumes.conftest import Bench, bench  # noqa: F401  the fixture
from tests.world import World


@pytest.fixture
def able(world: World) -> Host:
    """8 CPUs, two of them for dedicated machines, 64 GiB of which 1 is kept, no huge pages."""
    values = {"cpus": 8, "dedicated_cpus": 2, "memory_mib": 65536, "controls": asdict(CONTROLS)}
    Host.objects.filter(pk=world.host.pk).update(**values)
    world.host.refresh_from_db()
    return world.host


@pytest.fixture
def on_able(able: Host, bench: Bench) -> Bench:  # noqa: F811
    return bench
