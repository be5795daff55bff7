"""Runs one operation from its journal: forward step by step, or back by undoing.

Steps run outside of any transaction. Whatever kills the process, the next claim goes on from what the journal says.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from portal.events import log
from portal.operations.journal import Journal
from portal.operations.lease import Heartbeat, LeaseLost, claim
from portal.operations.models import Operation, OperationStep
from portal.operations.states import State, StepState
from portal.operations.workflow import Step, StepContext, StepFailed, TransientError, Workflow, workflow_of
from portal.tenancy.gate import Actor

BACKOFF_SECONDS = (1, 2, 4, 8, 15, 30)
UNDO_ATTEMPTS = 20
logger = logging.getLogger(__name__)


class Cancelled(Exception):
    """Somebody asked for the end."""


# Tests name a step to stop at: called as hook("before"|"after", step name). Empty in production.
step_hook: Callable[[str, str], None] | None = None


def run(operation_id: UUID) -> None:
    """Claim the operation and work on it until it ends or has to wait; a second delivery finds it claimed."""
    operation = claim(operation_id)
    if operation is None:
        return
    try:
        workflow = workflow_of(operation.kind)
    except KeyError:
        Journal(operation).release(
            waiting_for="a worker of a newer version", not_before=timezone.now() + timedelta(seconds=30)
        )
        return
    with Heartbeat(operation) as heartbeat:
        try:
            _Run(operation, workflow, heartbeat).go()
        except LeaseLost:
            logger.warning("operation %s was taken over; worker %s leaves it", operation.pk, os.getpid())


class _Run:
    def __init__(self, operation: Operation, workflow: Workflow, heartbeat: Heartbeat) -> None:
        self.operation = operation
        self.workflow = workflow
        self.heartbeat = heartbeat
        self.journal = Journal(operation)
        self.pairs: list[tuple[OperationStep, Step]] = _paired(self.journal.steps, workflow)

    def go(self) -> None:
        if self.operation.state == State.RUNNING and not self._forward():
            return
        if self.operation.state == State.UNWINDING:
            self._back()

    # -- forward -------------------------------------------------------------------------------------------------

    def _forward(self) -> bool:
        """False where the operation was given back to wait."""
        try:
            self._run_steps()
        except LeaseLost:
            raise
        except Exception as error:
            return self._stumbled(self._translated(error))
        return True

    def _run_steps(self) -> None:
        previous: OperationStep | None = None
        output: dict[str, Any] = {}
        for row, step in self.pairs:
            if row.state == StepState.DONE:
                continue
            self._stop_if_asked()
            self.journal.advance(previous, output, row)
            output = self._run_step(row, step)
            previous = row
        self._succeed(previous, output)

    def _run_step(self, row: OperationStep, step: Step) -> dict[str, Any]:
        _call_hook("before", step.name)
        output = dict(step.run(self._context(row)) or {})
        row.output = output
        _call_hook("after", step.name)
        self.heartbeat.check()
        return output

    def _succeed(self, last: OperationStep | None, output: dict[str, Any]) -> None:
        with transaction.atomic():
            self.journal.advance(last, output, None)
            self.workflow.succeeded(self.operation, self.journal.outputs())
            self._finish(State.SUCCEEDED)

    def _stumbled(self, error: Exception) -> bool:
        """Wait and try again, or turn round."""
        if isinstance(error, TransientError) and timezone.now() < self.operation.deadline_at:
            self._wait(str(error))
            return False
        self._turn_round(error)
        return True

    def _turn_round(self, error: Exception) -> None:
        problem = _problem(error)
        for row, _ in self.pairs:
            if row.state == StepState.RUNNING:
                self.journal.mark(row, StepState.FAILED, problem["detail"])
        self.journal.move(State.UNWINDING, error=problem)
        self.operation.error = problem

    # -- back ----------------------------------------------------------------------------------------------------

    def _back(self) -> None:
        for row, step in reversed(self.pairs):
            if row.state in (StepState.WAITING, StepState.UNDONE):
                continue
            try:
                _call_hook("undo", step.name)
                step.undo(self._context(row, undoing=True))
                self.heartbeat.check()
            except LeaseLost:
                raise
            except Exception as error:
                self._undo_failed(step, error)
                return
            self.journal.mark(row, StepState.UNDONE, row.detail)
        self._unwound()

    def _unwound(self) -> None:
        cancelled = (self.operation.error or {}).get("code") == "cancelled"
        with transaction.atomic():
            self.workflow.unwound(self.operation)
            self._finish(State.CANCELLED if cancelled else State.FAILED)

    def _undo_failed(self, step: Step, error: Exception) -> None:
        logger.warning("undo of %s in %s: %s", step.name, self.operation.pk, error, exc_info=error)
        error = self._translated(error)
        if isinstance(error, TransientError) or self.operation.attempts < UNDO_ATTEMPTS:
            self._wait(
                f"undoing “{step.title}”: {error if isinstance(error, TransientError) else _problem(error)['detail']}"
            )
            return
        self.journal.move(
            State.STUCK, lease_until=None, waiting_for=f"an administrator: “{step.title}” cannot be undone"
        )

    # -- both ----------------------------------------------------------------------------------------------------

    def _wait(self, reason: str) -> None:
        seconds = BACKOFF_SECONDS[min(self.operation.attempts, len(BACKOFF_SECONDS) - 1)]
        self.journal.release(waiting_for=reason, not_before=timezone.now() + timedelta(seconds=seconds))

    def _finish(self, state: State) -> None:
        self.journal.move(state, finished_at=timezone.now(), lease_until=None, waiting_for="")
        log.record(
            f"{self.operation.kind}.{state}",
            actor=Actor(self.operation.user, source=self.operation.source, request_id=self.operation.request_id),
            target=_Target(self.operation),  # type: ignore[arg-type]
            operation_id=self.operation.pk,
            **({"error": self.operation.error} if self.operation.error else {}),
        )

    def _context(self, row: OperationStep, undoing: bool = False) -> StepContext:
        def progress(fraction: float, words: str) -> None:
            self.heartbeat.check()
            if not undoing:
                self._stop_if_asked()
                self.journal.progress(row, fraction, words)

        return StepContext(
            self.operation, self.operation.params, self.journal.outputs(), self.operation.fence, progress
        )

    def _stop_if_asked(self) -> None:
        self.heartbeat.check()
        if self.journal.cancel_requested():
            raise Cancelled
        if timezone.now() >= self.operation.deadline_at:
            raise StepFailed("deadline_exceeded", "It was not done within its deadline.")

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, Cancelled | StepFailed | TransientError):
            return error
        translated = self.workflow.translate(error)
        if translated is None:
            logger.exception("operation %s failed", self.operation.pk, exc_info=error)
        return translated or error


class _Target:
    """The operation's target as the log wants it; its own row may be gone by now."""

    def __init__(self, operation: Operation) -> None:
        self.pk = operation.target_id
        self.name = operation.target_name
        self.tenant_id = operation.tenant_id
        self._meta = type("Meta", (), {"model_name": operation.target_type})


def _paired(rows: list[OperationStep], workflow: Workflow) -> list[tuple[OperationStep, Step]]:
    by_name = {step.name: step for step in workflow.steps}
    return [(row, by_name[row.name]) for row in rows]


def _problem(error: Exception) -> dict[str, str]:
    if isinstance(error, Cancelled):
        return {"code": "cancelled", "title": "Cancelled", "detail": "It was cancelled, and what was done is undone."}
    if isinstance(error, StepFailed):
        return {"code": error.code, "title": "Failed", "detail": error.detail}
    if isinstance(error, TransientError):
        return {"code": "deadline_exceeded", "title": "Given up", "detail": f"Waited too long: {error}"}
    return {
        "code": "internal_error",
        "title": "Failed",
        "detail": "Something went wrong inside Berth; the log of the worker says what.",
    }


def _call_hook(moment: str, step_name: str) -> None:
    if step_hook is not None:
        step_hook(moment, step_name)
