"""When a host is taken for failed, and when not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hosts.failure import Power, Signs, Verdict, is_cut_off, judge, words
from hosts.observe import MOST_BETWEEN_SECONDS, Silence

AFTER = 120.0
LONG, SHORT = 180.0, 60.0


@pytest.mark.parametrize(
    ("signs", "verdict"),
    [
        (Signs(0), Verdict.WELL),
        (Signs(0, answers=False, power=Power.OFF), Verdict.WELL),
        (Signs(SHORT, answers=False, power=Power.OFF), Verdict.SILENT),
        (Signs(LONG), Verdict.UNCONFIRMED),
        (Signs(LONG, power=Power.ON), Verdict.UNCONFIRMED),
        (Signs(LONG, answers=True), Verdict.ALIVE),
        (Signs(LONG, answers=True, power=Power.ON), Verdict.ALIVE),
        (Signs(LONG, answers=True, power=Power.OFF), Verdict.ALIVE),
        (Signs(LONG, answers=False), Verdict.SUSPECTED),
        (Signs(LONG, answers=False, power=Power.ON), Verdict.UNCONFIRMED),
        (Signs(LONG, answers=False, power=Power.OFF), Verdict.SUSPECTED),
        (Signs(LONG, answers=None, power=Power.OFF), Verdict.SUSPECTED),
        (Signs(LONG, power=Power.OFF, is_proof=False), Verdict.UNCONFIRMED),
        (Signs(LONG, answers=False, power=Power.OFF, is_proof=False), Verdict.SUSPECTED),
        (Signs(AFTER, answers=False), Verdict.SUSPECTED),
    ],
)
def test_silence_alone_is_not_enough(signs: Signs, verdict: Verdict) -> None:
    assert judge(signs, AFTER) == verdict


@pytest.mark.parametrize(
    ("signs", "verdict"),
    [
        (Signs(LONG, answers=False, power=Power.ON), Verdict.SUSPECTED),
        (Signs(LONG, answers=None, power=Power.ON), Verdict.UNCONFIRMED),
        (Signs(LONG, answers=True, power=Power.ON), Verdict.ALIVE),
        (Signs(SHORT, answers=False, power=Power.ON), Verdict.SILENT),
    ],
)
def test_an_eager_cluster_goes_by_its_address(signs: Signs, verdict: Verdict) -> None:
    assert judge(signs, AFTER, is_eager=True) == verdict


def test_a_cable_that_may_be_pulled_is_told_of() -> None:
    assert "cut off alone" in words(Verdict.UNCONFIRMED, Signs(LONG, answers=False, power=Power.ON))


def test_it_is_pure() -> None:
    told = "import sys, hosts.failure; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0


def test_only_what_lasts_has_words() -> None:
    told = {verdict for verdict in Verdict if words(verdict, Signs(LONG, answers=False))}
    assert told == set(Verdict) - {Verdict.WELL, Verdict.SILENT}


def test_an_agent_that_contradicts_the_host_is_told_of() -> None:
    assert "another machine" in words(Verdict.ALIVE, Signs(LONG, answers=True, power=Power.OFF))


@pytest.mark.parametrize(
    ("silent", "of", "cut_off"),
    [(0, 0, False), (0, 1, False), (1, 1, True), (1, 2, False), (2, 2, True), (2, 3, True), (2, 4, False)],
)
def test_where_most_are_silent_berth_is_cut_off(silent: int, of: int, cut_off: bool) -> None:
    assert is_cut_off([index < silent for index in range(of)]) is cut_off


class TestSilence:
    def test_it_grows_from_one_failed_attempt_to_the_next(self) -> None:
        silence = Silence()
        for now in (100.0, 115.0, 130.0):
            silence.failed(now)
        assert silence.seconds == 30

    def test_one_answer_ends_it(self) -> None:
        silence = Silence()
        silence.failed(100)
        silence.failed(110)
        silence.answered()
        silence.failed(200)
        assert silence.seconds == 0

    def test_time_in_which_nobody_asked_says_nothing(self) -> None:
        """The observer was stopped for an hour, and the host did not answer right before and after."""
        silence = Silence()
        silence.failed(100)
        silence.failed(3700)
        assert silence.seconds == MOST_BETWEEN_SECONDS
