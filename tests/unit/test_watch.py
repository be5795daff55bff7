"""How often what begins again and again is tried, and what is put by between two looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest.mock import Mock

import pytest

from hosts.driver.types import CopyFacts
from portal.operations.workflow import LookAgain, StepFailed
from vms.workflows import watch
from vms.workflows.watch import MOST_TRIES, Watch, together

UNDER_WAY, BEGUN, DONE = CopyFacts(1, 9, False), CopyFacts(0, 9, False, has_begun=True), CopyFacts(9, 9, True)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAUSES", (0, 0, 0))


def put_by(kept: Mapping[str, Any], facts: CopyFacts, about: str = "a", **more: Any) -> Mapping[str, Any]:
    with pytest.raises(LookAgain) as caught:
        Watch(Mock(kept=kept), about).until_complete(lambda: facts, keep=lambda: more)
    return caught.value.keep


def test_what_is_small_is_waited_for() -> None:
    context, looks = Mock(kept={}), iter([BEGUN, UNDER_WAY, DONE])
    assert Watch(context).until_complete(lambda: next(looks)) == DONE
    assert context.moved.call_args_list == [((0, 9),), ((1, 9),)]


def test_what_takes_longer_keeps_no_worker() -> None:
    kept = put_by({}, UNDER_WAY, total=7)
    assert kept == {"about": "a", "begun": 0, "pause": 1.0, "total": 7}
    context = Mock(kept=kept)
    with pytest.raises(LookAgain) as caught:
        Watch(context, "a").until_complete(lambda: UNDER_WAY)
    assert context.moved.call_count == 1
    assert (caught.value.seconds, caught.value.keep["pause"]) == (1.0, 2.0)


def test_it_is_looked_at_often_at_first_and_never_less_than_every_two_seconds() -> None:
    kept, seconds = put_by({}, UNDER_WAY), []
    for _ in range(4):
        with pytest.raises(LookAgain) as caught:
            Watch(Mock(kept=kept), "a").until_complete(lambda: UNDER_WAY)
        kept = caught.value.keep
        seconds.append(caught.value.seconds)
    assert seconds == [1.0, 2.0, 2.0, 2.0]


def test_one_that_is_lost_again_and_again_is_given_up() -> None:
    kept: Mapping[str, Any] = {"about": "a", "begun": 0}
    for tries in range(1, MOST_TRIES + 1):
        kept = put_by(kept, BEGUN)
        assert kept["begun"] == tries
    with pytest.raises(StepFailed) as caught:
        Watch(Mock(kept=kept), "a").until_complete(lambda: BEGUN)
    assert caught.value.code == "host_gave_up"
    assert put_by({**kept, "about": "b"}, UNDER_WAY)["begun"] == 0


def test_several_are_complete_together() -> None:
    assert together([DONE, UNDER_WAY]) == CopyFacts(10, 18, False)
    assert together([DONE, BEGUN]).has_begun
    assert together([DONE, DONE]).is_complete
