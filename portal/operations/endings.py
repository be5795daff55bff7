"""The ways in which a worker lets go of an operation that has not come to its end."""

from __future__ import annotations

import random
from typing import Any

from portal.operations.journal import Journal
from portal.operations.models import OperationStep
from portal.operations.services import ring
from portal.operations.states import State, StepState
from portal.operations.workflow import LookAgain, Step

BACKOFF_SECONDS = (1, 2, 4, 8, 15, 30)
UNDO_ATTEMPTS = 20
VERSION_ATTEMPTS = 20
VERSION_SECONDS = 30.0


def wait(journal: Journal, reason: str, *, is_lane_down: bool = False, **fields: Any) -> None:
    """Until later, with a longer pause each time; never in step with others that wait for the same."""
    attempts = journal.operation.attempts
    seconds = BACKOFF_SECONDS[min(attempts, len(BACKOFF_SECONDS) - 1)] * random.uniform(0.8, 1.2)  # noqa: S311
    journal.release(waiting_for=reason, seconds=seconds, attempts=attempts + 1, is_lane_down=is_lane_down, **fields)


def look_again(journal: Journal, step: OperationStep, wait: LookAgain) -> None:
    """Until a step that waits for something outside is to look again; that is no failure, so nothing is counted."""
    journal.keep(step, wait.keep)
    journal.release(waiting_for=str(wait), seconds=wait.seconds)
    ring(journal.operation.pk, after_seconds=wait.seconds)


def wait_for_version(journal: Journal) -> None:
    """Until a worker comes that knows the journal's version; where none does, it is an administrator's matter."""
    operation = journal.operation
    if operation.attempts < VERSION_ATTEMPTS:
        words = "a worker of another version"
        journal.release(waiting_for=words, seconds=VERSION_SECONDS, attempts=operation.attempts + 1)
    else:
        _leave_to_administrator(journal, "this version of Berth cannot go on with what another one began")


def pause(journal: Journal) -> None:
    """Until another worker takes it, at once."""
    journal.release(waiting_for="a worker: the one it had is being restarted", seconds=0)


def turn_round(journal: Journal, problem: dict[str, str]) -> None:
    """From here on undo what was done. All at once: a step that failed is never seen in an operation that goes on."""
    with journal.ending():
        for row in journal.steps:
            if row.state == StepState.RUNNING:
                journal.mark(row, StepState.FAILED, problem["detail"])
        journal.move(State.UNWINDING, error=problem, waiting_for="", attempts=0, failed_undos=0, is_lane_down=False)
    journal.operation.error = problem
    journal.operation.attempts = journal.operation.failed_undos = 0


def wait_to_undo(journal: Journal, title: str, reason: str) -> None:
    """An undo failed for a reason that need not pass: try some times, then leave it to an administrator."""
    failed = journal.operation.failed_undos + 1
    if failed < UNDO_ATTEMPTS:
        wait(journal, f"undoing “{title}”: {reason}", failed_undos=failed)
    else:
        _leave_to_administrator(journal, f"“{title}” cannot be undone")


def _leave_to_administrator(journal: Journal, why: str) -> None:
    words = f"an administrator: {why}"
    journal.move(State.STUCK, lease_until=None, lease_owner="", is_lane_down=False, waiting_for=words)


def stuck_step(journal: Journal, step: Step) -> None:
    """Called beside a step that no longer moves, shortly before its process ends."""
    minutes = round(step.deadline.total_seconds() / 60, 1)
    if journal.operation.state == State.UNWINDING:
        wait_to_undo(journal, step.title, f"it did not move for {minutes:g} min")
    else:
        wait(journal, f"another try: “{step.title}” did not move for {minutes:g} min")
