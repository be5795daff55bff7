"""The one table of an operation's states, and how they are told to the world."""

from __future__ import annotations

from django.db.models import TextChoices


class State(TextChoices):
    """UNWINDING undoes what was done; STUCK can go neither on nor back, and waits for an administrator."""

    QUEUED = "queued"
    RUNNING = "running"
    UNWINDING = "unwinding"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STUCK = "stuck"


ACTIVE = frozenset({State.QUEUED, State.RUNNING, State.UNWINDING, State.STUCK})
FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})

# Checked by the journal at each move of a worker's; an administrator may wake a stuck one (services.retry, unwind).
TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset({State.SUCCEEDED, State.UNWINDING, State.QUEUED, State.STUCK}),
    State.UNWINDING: frozenset({State.UNWINDING, State.FAILED, State.CANCELLED, State.STUCK}),
    State.STUCK: frozenset({State.QUEUED, State.UNWINDING}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

PUBLIC: dict[State, str] = {
    State.QUEUED: "queued",
    State.RUNNING: "running",
    State.UNWINDING: "running",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.STUCK: "failed",
}


class StepState(TextChoices):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNDONE = "undone"


BEGUN = frozenset({StepState.RUNNING, StepState.DONE})
