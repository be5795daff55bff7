"""For each kind of operation: how it is asked for, and what is true afterwards. Kinds of tests/faults enter here."""

from __future__ import annotations

from tests.faults.scenarios import backups, failover, images, machines, maintenance, power, provider, snapshots, storage
from tests.faults.scenarios.base import Scenario

__all__ = ["SCENARIOS", "Scenario"]

SCENARIOS: dict[str, type[Scenario]] = {
    scenario.kind: scenario
    for module in (backups, failover, machines, maintenance, power, provider, images, snapshots, storage)
    for scenario in module.SCENARIOS
}
