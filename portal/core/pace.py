"""How far something long is, and how much longer it takes: `1.2 GiB of 4 GiB, 38 s left`."""

from __future__ import annotations

from dataclasses import dataclass

from portal.core.units import size

_NEWS = 0.4  # how much the latest reading counts in a speed, against all before it


@dataclass(frozen=True)
class Amount:
    """So many bytes of so many."""

    done: int
    total: int

    @property
    def fraction(self) -> float:
        return self.done / self.total if self.total else 1.0

    def seconds_left(self, bytes_per_second: float | None) -> float | None:
        return max(self.total - self.done, 0) / bytes_per_second if bytes_per_second else None

    def words(self, bytes_per_second: float | None) -> str:
        words, left = f"{size(self.done)} of {size(self.total)}", self.seconds_left(bytes_per_second)
        return words if left is None else f"{words}, {duration(left)} left"


def speed(moved_bytes: int, seconds: float, before: float | None) -> float | None:
    """Bytes per second: the latest reading, smoothed by what it was `before`, which a move back does not change."""
    if seconds <= 0 or moved_bytes < 0:
        return before
    latest = moved_bytes / seconds
    return latest if before is None else _NEWS * latest + (1 - _NEWS) * before


def duration(seconds: float) -> str:
    """As roughly as one waits: `38 s`, `4 min`, `2 h`."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{round(minutes / 60)} h"
