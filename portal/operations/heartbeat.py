"""The thread beside the work: it renews the lease, and notices a step that no longer moves."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from django.db import connection

from portal.operations import lease
from portal.operations.lease import LeaseLost
from portal.operations.models import Operation
from portal.operations.workflow import Step

BEAT_SECONDS = 4.0
logger = logging.getLogger(__name__)

# What to do with a process whose step is stuck; a worker sets it to its own end (portal.operations.tasks).
end_process: Callable[[], None] = lambda: None  # noqa: E731


class Heartbeat:
    """Holds the lease while the work goes on. `on_stuck` writes what becomes of an operation whose step is stuck.

    The lease counts as lost by this process's own monotonic clock as well: one that was stopped for long finds out
    before it does anything, not at its next beat. Short operations end before the first beat, so they never pay for
    a second database connection.
    """

    def __init__(self, operation: Operation, asked_at: float, on_stuck: Callable[[Step], None]) -> None:
        """`asked_at` is by `now` and from before the claim, so it ends no later than the database's own."""
        self._operation = operation
        self._on_stuck = on_stuck
        self._step: Step | None = None
        self._moved_at = self._renewed_at = asked_at
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease-{operation.pk}", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join(timeout=BEAT_SECONDS)

    def check(self) -> None:
        """Raises LeaseLost where the lease is another's, or may be by now."""
        if self._lost or now() - self._renewed_at > lease.LEASE.total_seconds():
            raise LeaseLost(str(self._operation.pk))

    def watch(self, step: Step | None) -> None:
        """From now on this step is under way, or none."""
        self._step, self._moved_at = step, now()

    def moved(self) -> None:
        """The step has given a sign of progress."""
        self._moved_at = now()

    def _beat(self) -> None:
        try:
            while not self._stop.wait(BEAT_SECONDS):
                if not self._renew():
                    self._lost = True
                    return
                if self._is_stuck():
                    self._give_up()
                    return
        finally:
            connection.close()

    def _renew(self) -> bool:
        asked_at = now()
        try:
            renewed = lease.renew(self._operation)
        except Exception as error:  # the database is away: keep trying until the lease itself runs out
            logger.warning("heartbeat of %s: %s", self._operation.pk, error)
            return True
        self._renewed_at = asked_at
        return renewed

    def _is_stuck(self) -> bool:
        step = self._step
        return step is not None and now() - self._moved_at > step.deadline.total_seconds()

    def _give_up(self) -> None:
        """A thread cannot be stopped from outside but its process can, and the journal survives that."""
        step = self._step
        if step is None:
            return
        logger.error("step %s of operation %s is stuck; this worker process ends", step.name, self._operation.pk)
        try:
            self._on_stuck(step)
        finally:
            self._lost = True
            end_process()


def now() -> float:
    """Seconds that no change of the clock moves, and that pass while the machine is suspended too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
