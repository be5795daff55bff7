"""Runs one operation from its journal: forward step by step, or back by undoing.

Steps run outside of any transaction. Whatever kills the process, the next claim goes on from what the journal says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError
from django.utils import timezone
from structlog.contextvars import bound_contextvars

from portal.core.pace import Amount
from portal.events import log
from portal.operations import endings, heartbeat, versions
from portal.operations.heartbeat import Heartbeat
from portal.operations.journal import Journal
from portal.operations.lease import LeaseLost, claim
from portal.operations.models import Operation, OperationStep
from portal.operations.services import actor_of, ring_next
from portal.operations.states import State, StepState
from portal.operations.workflow import (
    LookAgain,
    PlaceLost,
    Step,
    StepContext,
    StepFailed,
    TransientError,
    Workflow,
    workflow_of,
)

logger = logging.getLogger(__name__)

_CANCELLED = "It was cancelled; its steps say what was undone."
_GAVE_WAY = "It gave way to what was asked for meanwhile; Berth begins it again later."
_DISPLACED = "It made way for something more urgent, and is not begun again by itself."


class Cancelled(Exception):
    """Somebody asked for the end, or for what it works on."""


class Paused(Exception):
    """This worker is told to stop; another goes on from here."""


# Tests name a step to stop at: called as hook("before"|"after"|"undo"|"undone", step name). Empty in production.
step_hook: Callable[[str, str], None] | None = None
# Whether this process is to stop at the next safe point; a worker puts its own answer here (portal.operations.tasks).
is_shutting_down: Callable[[], bool] = lambda: False  # noqa: E731


def run(operation_id: UUID) -> None:
    """Claim the operation and work on it until it ends or has to wait; a second delivery finds it claimed."""
    asked_at = heartbeat.now()
    operation = claim(operation_id)
    if operation is None:
        return
    with bound_contextvars(request_id=operation.request_id, operation_id=str(operation.pk), kind=operation.kind):
        _work_on_guarded(operation, asked_at)
    ring_next(operation.lane)


def _work_on_guarded(operation: Operation, asked_at: float) -> None:
    try:
        _work_on(operation, asked_at)
    except LeaseLost:
        logger.warning("operation %s was taken over; this worker leaves it", operation.pk)
    except (OperationalError, InterfaceError) as error:
        logger.warning("operation %s is left to the next worker, the database is away: %s", operation.pk, error)


def _work_on(operation: Operation, asked_at: float) -> None:
    journal = Journal(operation)
    try:
        workflow = workflow_of(operation.kind)
        pairs = versions.pair(operation, journal.steps, workflow)
    except (KeyError, versions.Unknown):
        endings.wait_for_version(journal)
        return
    with Heartbeat(operation, asked_at, partial(endings.stuck_step, journal)) as beat:
        _Run(operation, workflow, pairs, journal, beat).go()


class _Run:
    def __init__(
        self,
        operation: Operation,
        workflow: Workflow,
        pairs: list[tuple[OperationStep, Step]],
        journal: Journal,
        heartbeat: Heartbeat,
    ) -> None:
        self.operation = operation
        self.workflow = workflow
        self.pairs = pairs
        self.journal = journal
        self.journal.lets_go = frozenset(step.name for _, step in pairs if step.lets_go)
        self.heartbeat = heartbeat

    def go(self) -> None:
        try:
            if self.operation.state == State.RUNNING:
                self._forward()
            if self.operation.state == State.UNWINDING:
                self._back()
        except Paused:
            endings.pause(self.journal)

    # -- forward -------------------------------------------------------------------------------------------------

    def _forward(self) -> None:
        try:
            if not self.workflow.goes_on_with(self.operation.version) and not self._is_past_return():
                raise StepFailed("upgraded", "Berth was upgraded in the middle of this, and it could not go on.")
            self._run_steps()
        except (LeaseLost, Paused, OperationalError, InterfaceError):
            raise
        except Exception as error:
            self._stumbled(self._translated(error))

    def _run_steps(self) -> None:
        previous: OperationStep | None = None
        output: dict[str, Any] = {}
        for row, step in self.pairs:
            if row.state == StepState.DONE:
                continue
            if row.state in (StepState.RUNNING, StepState.FAILED) and not step.repeatable:
                raise _unknown_end(row, "it was interrupted")
            self._stop_between(previous, output, row)
            self.journal.advance(previous, output, row)
            output = self._run_step(row, step)
            previous = row
            if step.seals:  # nothing that ends it comes between
                self.journal.advance(row, output, None)
                previous, output = None, {}
        self._succeed(previous, output)

    def _stop_between(self, done: OperationStep | None, output: dict[str, Any], following: OperationStep) -> None:
        """Where the end is asked for, what was done is written down first.

        A step that was begun earlier may have had its effect: it is looked at once more before anything is given up.
        """
        try:
            self._stop_if_asked(is_begun=following.state == StepState.RUNNING)
        except (Cancelled, Paused, StepFailed):
            self.journal.advance(done, output, None)
            raise

    def _run_step(self, row: OperationStep, step: Step) -> dict[str, Any]:
        self.heartbeat.watch(step)
        with bound_contextvars(step=step.name):
            _call_hook("before", step.name)
            output = dict(step.run(self._context(row)) or {})
            row.output = output
            _call_hook("after", step.name)
        self.heartbeat.watch(None)
        self.heartbeat.check()
        return output

    def _succeed(self, last: OperationStep | None, output: dict[str, Any]) -> None:
        with self.journal.ending():
            self.journal.advance(last, output, None)
            self.workflow.succeeded(self.operation, self.journal.outputs())
            self._finish(State.SUCCEEDED)

    def _stumbled(self, error: Exception) -> None:
        """Wait and try again, or turn round."""
        self.heartbeat.watch(None)
        row, step = self._under_way()
        if self._is_past_return():
            error = _to_be_repeated(error)
        elif isinstance(error, TransientError | LookAgain):
            error = self._reason_to_stop(row, step, error) or error
        if isinstance(error, TransientError):
            endings.wait(self.journal, str(error), is_lane_down=error.is_lane_down)
        elif isinstance(error, LookAgain) and row is not None:
            endings.look_again(self.journal, row, error)
        else:
            endings.turn_round(self.journal, _problem(error))

    def _reason_to_stop(self, row: OperationStep | None, step: Step | None, error: Exception) -> Exception | None:
        """Why it is not to be tried again, if so."""
        if row is not None and step is not None and not step.repeatable:
            return _unknown_end(row, str(error))
        if self.journal.cancel_requested():
            return self._cancelled()
        if timezone.now() >= self.operation.deadline_at:
            return StepFailed("deadline_exceeded", f"Waited too long: {error}")
        return None

    def _is_past_return(self) -> bool:
        """Whether a final step is begun, whose effect nobody can take back."""
        return any(step.is_past_return(row.state) for row, step in self.pairs)

    def _under_way(self) -> tuple[OperationStep, Step] | tuple[None, None]:
        return next(((row, step) for row, step in self.pairs if row.state == StepState.RUNNING), (None, None))

    # -- back ----------------------------------------------------------------------------------------------------

    def _back(self) -> None:
        for row, step in reversed(self.pairs):  # what a step without an undo did stays, and is not told as undone
            if row.state in (StepState.WAITING, StepState.UNDONE) or not step.has_undo:
                continue
            self.heartbeat.check()
            if is_shutting_down():
                raise Paused
            try:
                self._undo_step(row, step)
            except (LeaseLost, OperationalError, InterfaceError):
                raise
            except Exception as error:
                translated = self._translated(error)
                if not isinstance(translated, PlaceLost):
                    self._undo_failed(step, translated)
                    return
            self.journal.mark(row, StepState.UNDONE, row.detail)
        try:
            self._unwound()
        except (LeaseLost, OperationalError, InterfaceError):
            raise
        except Exception as error:
            logger.exception("operation %s cannot settle its undo", self.operation.pk, exc_info=error)
            endings.wait_to_undo(self.journal, "settling the undo", _problem(error)["detail"])

    def _undo_step(self, row: OperationStep, step: Step) -> None:
        self.heartbeat.watch(step)
        with bound_contextvars(step=step.name, undoing=True):
            _call_hook("undo", step.name)
            step.undo(self._context(row, undoing=True))
            _call_hook("undone", step.name)
        self.heartbeat.watch(None)
        self.heartbeat.check()

    def _unwound(self) -> None:
        cancelled = (self.operation.error or {}).get("code") == "cancelled"
        with self.journal.ending():
            self.workflow.unwound(self.operation)
            self._finish(State.CANCELLED if cancelled else State.FAILED)

    def _undo_failed(self, step: Step, error: Exception) -> None:
        self.heartbeat.watch(None)
        logger.warning("undo of %s in %s: %s", step.name, self.operation.pk, error, exc_info=error)
        if isinstance(error, TransientError):
            endings.wait(self.journal, f"undoing “{step.title}”: {error}", is_lane_down=error.is_lane_down)
        else:
            endings.wait_to_undo(self.journal, step.title, _problem(error)["detail"])

    # -- both ----------------------------------------------------------------------------------------------------

    def _finish(self, state: State) -> None:
        self.journal.move(state, finished_at=timezone.now(), lease_until=None, lease_owner="", waiting_for="")
        log.record(
            f"{self.operation.kind}.{state}",
            actor=actor_of(self.operation),
            target=_Target(self.operation),  # type: ignore[arg-type]
            operation_id=self.operation.pk,
            **({"error": self.operation.error} if self.operation.error else {}),
        )

    def _context(self, row: OperationStep, undoing: bool = False) -> StepContext:
        def progress(fraction: float, words: str, amount: Amount | None = None) -> None:
            self.heartbeat.check()
            self.heartbeat.moved()
            if not undoing:
                self._stop_if_asked()
                self.journal.progress(row, fraction, words, amount)

        operation = self.operation
        outputs = self.journal.outputs()
        check = self.heartbeat.check
        stop = check if undoing else self._stop_if_asked
        return StepContext(operation, operation.params, outputs, operation.fence, row.kept, progress, check, stop)

    def _stop_if_asked(self, is_begun: bool = False) -> None:
        self.heartbeat.check()
        if is_shutting_down():
            raise Paused
        if is_begun or self._is_past_return():
            return
        if self.journal.cancel_requested():
            raise self._cancelled()
        if timezone.now() >= self.operation.deadline_at:
            raise StepFailed("deadline_exceeded", "It was not done within its deadline.")

    def _cancelled(self) -> Cancelled:
        if not self.operation.gives_way:
            return Cancelled(_CANCELLED)
        return Cancelled(_GAVE_WAY if self.workflow.gives_way else _DISPLACED)

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, Cancelled | StepFailed | TransientError | LookAgain):
            return error
        translated = self.workflow.translate(error)
        if translated is None:
            logger.exception("operation %s failed", self.operation.pk, exc_info=error)
            return error
        logger.warning(
            "operation %s: %s: %s", self.operation.pk, type(error).__name__, error
        )  # tenants see no such text
        return translated


def _to_be_repeated(error: Exception) -> Exception:
    """What a final step runs into, whatever it is, is waited for."""
    if isinstance(error, TransientError | LookAgain):
        return error
    return TransientError(f"another try: {_problem(error)['detail']}")


class _Target:
    """The operation's target as the log wants it; its own row may be gone by now."""

    def __init__(self, operation: Operation) -> None:
        self.pk = operation.target_id
        self.name = operation.target_name
        self.tenant_id = operation.tenant_id
        self._meta = type("Meta", (), {"model_name": operation.target_type})


def _problem(error: Exception) -> dict[str, str]:
    if isinstance(error, Cancelled):
        return {"code": "cancelled", "title": "Cancelled", "detail": str(error)}
    if isinstance(error, StepFailed):
        return {"code": error.code, "title": "Failed", "detail": error.detail}
    return {
        "code": "internal_error",
        "title": "Failed",
        "detail": "Something went wrong inside Berth; the log of the worker says what.",
    }


def _unknown_end(row: OperationStep, reason: str) -> StepFailed:
    return StepFailed("interrupted", f"“{row.title}”: {reason}. Look whether it was done, and ask again.")


def _call_hook(moment: str, step_name: str) -> None:
    if step_hook is not None:
        step_hook(moment, step_name)
