"""A database whose clock goes where it is set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from portal.core import clocks

START = datetime(2026, 3, 28, 22, tzinfo=UTC)  # before the night in which clocks change in Europe


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def go(self, step: timedelta) -> None:
        self.now += step


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(clocks, "database_now", clock)
    return clock
