"""Journals that earlier versions of Berth have left: whatever stands in them, this one goes on with them."""

from __future__ import annotations

import pytest

from portal.operations import versions, workflow
from portal.operations.models import Operation, OperationStep
from portal.operations.states import StepState

JOURNALS = {
    ("vm.delete", 1): ("power", "undefine", "address", "volumes"),
    ("vm.delete", 2): ("power", "undefine", "volumes"),
    ("backup.restore", 1): ("check", "copy", "stop", "define", "start", "replaced"),
    ("image.publish", 1): ("copy", "bring", "inspect", "convert", "store"),
    ("vm.delete-snapshot", 1): ("merge", "measure"),
    ("vm.repair", 1): ("seed", "address", "define", "power"),
    ("vm.start", 1): ("start",),
    ("vm.stop", 1): ("stop",),
    ("vm.reboot", 1): ("reach", "reboot"),
    ("vm.force-off", 1): ("force-off",),
    ("vm.pause", 1): ("pause",),
    ("vm.resume", 1): ("resume",),
}


def test_each_version_that_is_continued_has_its_journal_here() -> None:
    found = {(kind, version) for kind in workflow.kinds() for version in workflow.workflow_of(kind).continues}
    assert found == set(JOURNALS)


@pytest.mark.parametrize("state", StepState)
@pytest.mark.parametrize(("kind", "version"), JOURNALS)
def test_its_steps_are_known(kind: str, version: int, state: StepState) -> None:
    names = JOURNALS[kind, version]
    rows = [OperationStep(name=name, position=i, state=state) for i, name in enumerate(names)]
    pairs = versions.pair(Operation(kind=kind, version=version), rows, workflow.workflow_of(kind))
    assert pairs
    assert {row.name for row, _ in pairs} <= set(names)
