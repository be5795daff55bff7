"""The matrix: each registered kind of operation, each of its steps, each fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from portal.operations import workflow
from portal.operations.workflow import Step
from tests.faults.faults import FAULTS
from tests.faults.scenarios import SCENARIOS, Scenario
from vms.workflows.common import observe_now

# What also runs on PostgreSQL, where connections, locks and clocks behave otherwise.
KINDS_ON_POSTGRES = ("vm.create", "vm.clone", "vm.resize", "vm.purge")
FAULTS_ON_POSTGRES = ("kill-during", "worker-paused", "database-cut", "delivered-twice")


@dataclass(frozen=True)
class Cell:
    kind: str
    step: str
    fault: str
    variant: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.kind, self.variant, self.step, self.fault)))


def whole() -> list[Cell]:
    return [cell for kind in workflow.kinds() for cell in _of_kind(kind)]


def on_postgres() -> list[Cell]:
    return [cell for cell in whole() if cell.kind in KINDS_ON_POSTGRES and cell.fault in FAULTS_ON_POSTGRES]


def short() -> list[Cell]:
    """The worst moment of a crash, after a step's effect and before anybody wrote it down.

    Once per kind, at its last step; of a create, which has the most to lose, at each; of a clone where disks are made.
    """
    last = [(kind, workflow.workflow_of(kind).steps[-1]) for kind in workflow.kinds()]
    creates = [("vm.create", step) for step in workflow.workflow_of("vm.create").steps[:-1]]
    clones = [Cell("vm.clone", step, "kill-during", "linked") for step in ("freeze", "copy")]
    copy = ("vm.clone", workflow.workflow_of("vm.clone").steps[1])
    return [*clones, *(Cell(kind, step.name, "kill-after") for kind, step in (*creates, copy, *last))]


def _of_kind(kind: str) -> Iterator[Cell]:
    for step in workflow.workflow_of(kind).steps:
        for name, fault in FAULTS.items():
            if can_be_undone(step) or not fault.is_of_undo:
                yield Cell(kind, step.name, name)
    scenario = SCENARIOS.get(kind, Scenario)  # a kind without one fails a test of its own
    for variant, (steps, faults) in scenario.variants.items():
        for step_name in steps:
            for name in faults or FAULTS:
                yield Cell(kind, step_name, name, variant)


def can_be_undone(step: Step) -> bool:
    """No power state is undone: of such a step the undo only looks at what became of it. Nor is a final step."""
    return not step.is_final and step.undo not in (workflow._nothing, observe_now)
