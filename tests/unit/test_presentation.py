"""Sizes, times and looks in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from portal.core import units
from portal.core.units import THIN_SPACE
from portal.web import presentation

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0 MiB"),
        (1023, "1023 MiB"),
        (1024, "1 GiB"),
        (1152, "1.1 GiB"),
        (4736, "4.6 GiB"),
        (10_240, "10 GiB"),
        (10_485_760, "10240 GiB"),
    ],
)
def test_memory(value: int, words: str) -> None:
    assert units.mib(value) == words.replace(" ", THIN_SPACE)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0 B"),
        (1000, "1000 B"),
        (1024, "1 KiB"),
        (1020 * 1024, "1020 KiB"),
        (40 * 1024**2, "40 MiB"),
        (int(1.5 * 1024**3), "1.5 GiB"),
        (4 * 1024**4, "4 TiB"),
        (20_000 * 1024**4, "20000 TiB"),
    ],
)
def test_size(value: int, words: str) -> None:
    assert units.size(value) == words.replace(" ", THIN_SPACE)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0.0 s"), (0.44, "0.4 s"), (12, "12 s"), (59.9, "59 s"), (60, "1 min"), (7300, "2 h"), (86_400, "1 day")],
)
def test_span(seconds: float, words: str) -> None:
    assert presentation.span(seconds) == words
    assert presentation.span(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        (timedelta(seconds=-30), "just now"),  # a clock that runs ahead
        (timedelta(seconds=4), "just now"),
        (timedelta(minutes=5), "5 min ago"),
        (timedelta(days=9), "9 days ago"),
        (timedelta(days=31), "23 Oct 2026"),
    ],
)
def test_age(passed: timedelta, words: str) -> None:
    with time_machine.travel(NOW, tick=False):
        assert presentation.age(NOW - passed) == words


def test_what_has_no_time() -> None:
    assert presentation.age(None) == "never"
