"""The matrix: each registered kind of operation, each of its steps, each fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from portal.operations import workflow
from portal.operations.workflow import Step
from tests.faults.faults import FAULTS
from vms.workflows.common import observe_now

# What also runs on PostgreSQL, where connections, locks and clocks behave otherwise.
KINDS_ON_POSTGRES = ("vm.create", "vm.clone", "vm.resize", "vm.purge")
FAULTS_ON_POSTGRES = ("kill-during", "worker-paused", "database-cut", "delivered-twice")


@dataclass(frozen=True)
class Cell:
    kind: str
    step: str
    fault: str

    def __str__(self) -> str:
        return f"{self.kind}-{self.step}-{self.fault}"


def whole() -> list[Cell]:
    return [cell for kind in workflow.kinds() for cell in _of_kind(kind)]


def on_postgres() -> list[Cell]:
    return [cell for cell in whole() if cell.kind in KINDS_ON_POSTGRES and cell.fault in FAULTS_ON_POSTGRES]


def short() -> list[Cell]:
    """The worst moment of a crash, after a step's effect and before anybody wrote it down.

    Once per kind, at its last step; of a create, which has the most to lose, at each; of a clone, at its copy as well.
    """
    last = [(kind, workflow.workflow_of(kind).steps[-1]) for kind in workflow.kinds()]
    creates = [("vm.create", step) for step in workflow.workflow_of("vm.create").steps[:-1]]
    copy = ("vm.clone", workflow.workflow_of("vm.clone").steps[0])
    return [Cell(kind, step.name, "kill-after") for kind, step in (*creates, copy, *last)]


def _of_kind(kind: str) -> Iterator[Cell]:
    for step in workflow.workflow_of(kind).steps:
        for name, fault in FAULTS.items():
            if can_be_undone(step) or not fault.is_of_undo:
                yield Cell(kind, step.name, name)


def can_be_undone(step: Step) -> bool:
    """No power state is undone: of such a step the undo only looks at what became of it."""
    return step.undo not in (workflow._nothing, observe_now)
