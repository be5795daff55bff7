"""How far something long is, and how much longer it takes: `1.2 GiB of 4 GiB, 38 s left`."""

from __future__ import annotations

import time
from collections.abc import Callable

from portal.core.units import size

SOONEST_SECONDS = 2.0  # before that a guess says nothing


class Pace:
    """Made when the work begins, or goes on: what was done before then says nothing of how fast it is."""

    def __init__(self, total_bytes: int, done_bytes: int = 0, now: Callable[[], float] = time.monotonic) -> None:
        self._total = total_bytes
        self._before = done_bytes
        self._now = now
        self._began = now()

    def words(self, done_bytes: int) -> str:
        words = f"{size(done_bytes)} of {size(self._total)}"
        left = self._seconds_left(done_bytes)
        return words if left is None else f"{words}, {duration(left)} left"

    def _seconds_left(self, done_bytes: int) -> float | None:
        took, moved = self._now() - self._began, done_bytes - self._before
        if took < SOONEST_SECONDS or moved <= 0:
            return None
        return max(self._total - done_bytes, 0) * took / moved


def duration(seconds: float) -> str:
    """As roughly as one waits: `38 s`, `4 min`, `2 h`."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{round(minutes / 60)} h"
