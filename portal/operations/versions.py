"""Old rows, new code, and the reverse: which steps of this version belong to a journal."""

from __future__ import annotations

from portal.operations.models import Operation, OperationStep
from portal.operations.states import StepState
from portal.operations.workflow import Step, Workflow


class Unknown(Exception):
    """The journal was begun by a version that this one knows nothing of; its worker may still come."""


def pair(operation: Operation, rows: list[OperationStep], workflow: Workflow) -> list[tuple[OperationStep, Step]]:
    """Each row with its step. A journal keeps the steps with which it was accepted.

    Raises Unknown for a journal of a newer version, and for one with a begun step that is gone: nobody here can
    undo it. Steps that are gone and were not begun are left out, and all that are gone where the workflow goes on
    with that version.
    """
    if operation.version > workflow.version:
        raise Unknown(f"version {operation.version} of {operation.kind}")
    by_name = {step.name: step for step in (*workflow.steps, *workflow.former)}
    gone = [row.name for row in rows if row.name not in by_name and row.state != StepState.WAITING]
    if gone and not workflow.goes_on_with(operation.version):
        raise Unknown(f"steps {gone} of {operation.kind}")
    return [(row, by_name[row.name]) for row in rows if row.name in by_name]
