"""Random histories against a real host: a few with `./test --faults`, many and long ones with `./test --soak`."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.bench import Bench
from tests.faults.history import History

pytestmark = [pytest.mark.service, pytest.mark.timeout(0)]
# No shrinking: each step takes seconds, and the failing history is printed as it was.
COMMON = settings(
    deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)


def play(bench: Bench, histories: int, steps: int) -> None:
    machine = type("HistoryOfThisBench", (History,), {"bench": bench})
    run_state_machine_as_test(machine, settings=settings(COMMON, max_examples=histories, stateful_step_count=steps))


@pytest.mark.faults
def test_short_histories(bench: Bench) -> None:
    play(bench, histories=4, steps=12)


@pytest.mark.soak
def test_long_histories(bench: Bench) -> None:
    play(bench, histories=6, steps=30)
