"""The journal of an operation, written only under the fence."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from portal.core import text
from portal.core.pace import Amount, speed
from portal.events import live
from portal.operations import lanes
from portal.operations.lease import LeaseLost, held
from portal.operations.models import LONGEST_DETAIL, LONGEST_WAIT, NOTHING_MOVED, Operation, OperationStep
from portal.operations.states import FINAL, TRANSITIONS, State, StepState

PROGRESS_EVERY_SECONDS = 1.0


class Journal:
    """Writes what the engine does; each write is one transaction that fails with LeaseLost when the fence moved."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.steps = list(operation.steps.all())
        self._topics = operation.topics
        self.lets_go: frozenset[str] = frozenset()  # the names of steps after which nothing is held any more
        self._progress_written = 0.0

    def outputs(self) -> dict[str, Any]:
        """What all steps so far have left for others, in one flat mapping."""
        merged: dict[str, Any] = {}
        for step in self.steps:
            merged.update(step.output)
        return merged

    @transaction.atomic
    def advance(self, finished: OperationStep | None, output: Mapping[str, Any], begun: OperationStep | None) -> None:
        """One step ends and the next begins, in one write. What ends a step also ends its waiting."""
        is_new = begun is not None and begun.state != StepState.RUNNING
        news = {"waiting_for": ""} if finished is not None or is_new else {}
        self._guard(**news, **({"attempts": 0, "is_lane_down": False} if finished is not None else {}))
        if finished is not None:
            lanes.host_answers(self.operation.lane)
            self._set(
                finished,
                StepState.DONE,
                progress=1.0,
                finished_at=timezone.now(),
                output=dict(output),
                kept={},
                detail="",
            )
            if finished.name in self.lets_go:
                self.operation.holds.update(is_active=False)
        if begun is not None:
            self._begin(begun)
        self._tell()

    def _begin(self, step: OperationStep) -> None:
        """One that goes on after a wait keeps its beginning and its progress."""
        if step.state != StepState.RUNNING:
            self._set(step, StepState.RUNNING, started_at=timezone.now(), finished_at=None, **NOTHING_MOVED)

    @transaction.atomic
    def keep(self, step: OperationStep, kept: Mapping[str, Any]) -> None:
        """Put by what the step under way wants to know when it is run again."""
        self._guard()
        self._set(step, StepState.RUNNING, kept=dict(kept))

    @contextmanager
    def ending(self) -> Iterator[None]:
        """A transaction whose failure leaves the operation in hand as it is in the database."""
        before = self.operation.state
        try:
            with transaction.atomic():
                yield
        except BaseException:
            self.operation.state = before
            raise

    @transaction.atomic
    def mark(self, step: OperationStep, state: StepState, detail: str = "") -> None:
        self._guard()
        self._set(step, state, finished_at=timezone.now(), detail=text.shortened(detail, LONGEST_DETAIL))
        self._tell()

    def progress(self, step: OperationStep, fraction: float, words: str, amount: Amount | None = None) -> None:
        """At most one write a second; the last one of a step is `advance`."""
        if time.monotonic() - self._progress_written < PROGRESS_EVERY_SECONDS:
            return
        self._progress_written = time.monotonic()
        with transaction.atomic():
            self._guard()
            measured = _measured(step, amount) if amount else {}
            self._set(
                step,
                StepState.RUNNING,
                progress=min(max(fraction, 0.0), 1.0),
                detail=text.shortened(words, LONGEST_DETAIL),
                **measured,
            )
            self._tell()

    def move(self, state: State, **fields: Any) -> None:
        """Change the operation itself. The caller's transaction may hold more that belongs to it."""
        if state not in TRANSITIONS[State(self.operation.state)]:
            raise ValueError(f"an operation that is {self.operation.state} does not become {state}")
        with transaction.atomic():
            rows = Operation.objects.unscoped("engine").filter(held(self.operation))
            if not rows.update(state=state, **fields):
                raise LeaseLost(str(self.operation.pk))
            self.operation.state = state
            if state in FINAL:
                self.operation.holds.update(is_active=False)
            self._tell()

    def release(self, *, waiting_for: str, seconds: float, **fields: Any) -> None:
        """Give the operation back until later; its state stays, so the next worker goes on where this one stopped."""
        state = State.QUEUED if self.operation.state == State.RUNNING else State(self.operation.state)
        waiting = {
            "waiting_for": text.shortened(waiting_for, LONGEST_WAIT),
            "not_before": Now() + timedelta(seconds=seconds),
        }
        self.move(state, **waiting, lease_until=None, lease_owner="", **fields)

    def cancel_requested(self) -> bool:
        rows = Operation.objects.unscoped("engine").filter(held(self.operation))
        row = rows.values_list("cancel_requested_at", "gives_way").first()
        if row is None:
            raise LeaseLost(str(self.operation.pk))
        self.operation.gives_way = row[1]
        return row[0] is not None

    def _guard(self, **fields: Any) -> None:
        """Locks the operation's row as well, so nobody can take it over while this write is under way."""
        rows = Operation.objects.unscoped("engine").filter(held(self.operation))
        if not rows.update(lease_owner=self.operation.lease_owner, **fields):
            raise LeaseLost(str(self.operation.pk))

    def _set(self, step: OperationStep, state: StepState, **fields: Any) -> None:
        step.state = state
        for name, value in fields.items():
            setattr(step, name, value)
        step.save(update_fields=["state", *fields])

    def _tell(self) -> None:
        live.tell(self.operation.tenant_id, f"operation:{self.operation.pk}", "operations", *self._topics)


def _measured(step: OperationStep, amount: Amount) -> dict[str, Any]:
    """What to write of the bytes that have been moved; their speed by what was written last, by whichever worker."""
    now = timezone.now()
    rate = step.bytes_per_second
    if step.measured_at is not None and step.done_bytes is not None:
        rate = speed(amount.done - step.done_bytes, (now - step.measured_at).total_seconds(), rate)
    return {
        "done_bytes": amount.done,
        "total_bytes": amount.total,
        "bytes_per_second": rate,
        "measured_at": now,
    }
