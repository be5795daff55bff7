"""The ways in which a worker lets go of an operation that has not come to its end."""

from __future__ import annotations

import random
from datetime import timedelta

from django.utils import timezone

from portal.operations.journal import Journal
from portal.operations.services import ring
from portal.operations.states import State, StepState
from portal.operations.workflow import Step

BACKOFF_SECONDS = (1, 2, 4, 8, 15, 30)
UNDO_ATTEMPTS = 20


def wait(journal: Journal, reason: str, *, is_lane_down: bool = False) -> None:
    """Until later, with a longer pause each time; never in step with others that wait for the same."""
    attempts = journal.operation.attempts
    seconds = BACKOFF_SECONDS[min(attempts, len(BACKOFF_SECONDS) - 1)] * random.uniform(0.8, 1.2)  # noqa: S311
    not_before = timezone.now() + timedelta(seconds=seconds)
    journal.release(waiting_for=reason, not_before=not_before, attempts=attempts + 1, is_lane_down=is_lane_down)


def look_again(journal: Journal, seconds: float, reason: str) -> None:
    """Until a step that waits for something outside is to look again; that is no failure, so nothing is counted."""
    journal.release(waiting_for=reason, not_before=timezone.now() + timedelta(seconds=seconds))
    ring(journal.operation.pk, after_seconds=seconds)


def pause(journal: Journal) -> None:
    """Until another worker takes it, at once."""
    journal.release(waiting_for="a worker: the one it had is being restarted", not_before=timezone.now())


def turn_round(journal: Journal, problem: dict[str, str]) -> None:
    """From here on undo what was done."""
    for row in journal.steps:
        if row.state == StepState.RUNNING:
            journal.mark(row, StepState.FAILED, problem["detail"])
    journal.move(State.UNWINDING, error=problem, attempts=0, is_lane_down=False)
    journal.operation.error = problem
    journal.operation.attempts = 0


def wait_to_undo(journal: Journal, title: str, reason: str) -> None:
    """An undo failed for a reason that need not pass: try some times, then leave it to an administrator."""
    if journal.operation.attempts + 1 < UNDO_ATTEMPTS:
        wait(journal, f"undoing “{title}”: {reason}")
        return
    words = f"an administrator: “{title}” cannot be undone"
    journal.move(State.STUCK, lease_until=None, lease_owner="", is_lane_down=False, waiting_for=words)


def stuck_step(journal: Journal, step: Step) -> None:
    """Called beside a step that no longer moves, shortly before its process ends."""
    minutes = round(step.deadline.total_seconds() / 60, 1)
    if journal.operation.state == State.UNWINDING:
        wait_to_undo(journal, step.title, f"it did not move for {minutes:g} min")
    else:
        wait(journal, f"another try: “{step.title}” did not move for {minutes:g} min")
