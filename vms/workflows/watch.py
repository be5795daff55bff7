"""Looking how far a host is with what goes on there by itself: a copy, a merge, a backup."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from hosts.driver.types import CopyFacts
from portal.operations.workflow import LookAgain, StepContext, StepFailed

# What is small is done while one waits, so the first looks come soon; what is large keeps no worker meanwhile.
PAUSES = (0.05, 0.05, 0.1, 0.1, 0.2, 0.2, 0.3, 0.5, 0.5)
FIRST_AGAIN_SECONDS, LAST_AGAIN_SECONDS = 0.5, 2.0
MOST_TRIES = 4


class Facts(Protocol):
    """Bytes that are done, and those to be done; `has_begun`: by this very look."""

    @property
    def done_bytes(self) -> int: ...
    @property
    def total_bytes(self) -> int: ...
    @property
    def is_complete(self) -> bool: ...
    @property
    def has_begun(self) -> bool: ...


F = TypeVar("F", bound=Facts)


class Watch:
    """Of one thing that a step waits for; `about` tells it from others that the same step waits for.

    What is lost with its QEMU begins anew at the next look. How often it did is counted in what the step keeps.
    """

    def __init__(self, context: StepContext, about: object = "") -> None:
        self._context, self._about = context, str(about)
        self._is_new = context.kept.get("about") != self._about
        self._begun = 0 if self._is_new else int(context.kept["begun"])
        self._pause = FIRST_AGAIN_SECONDS if self._is_new else float(context.kept.get("pause", LAST_AGAIN_SECONDS))

    def until_complete(
        self,
        look: Callable[[], F],
        *,
        is_enough: Callable[[F], bool] = lambda facts: facts.is_complete,
        keep: Callable[[], Mapping[str, Any]] = dict,
    ) -> F:
        """What the last look has found. Raises LookAgain, for which `keep` is asked what else to put by."""
        for pause in PAUSES if self._is_new else PAUSES[:1]:
            facts = look()
            if is_enough(facts):
                return facts
            self._begun += facts.has_begun
            if self._begun > MOST_TRIES:
                raise StepFailed("host_gave_up", "The host lost it again and again before it was done.")
            self._tell(facts)
            time.sleep(pause)
        raise self.again(self._pause, keep())

    def _tell(self, facts: Facts) -> None:
        if facts.total_bytes:
            self._context.moved(facts.done_bytes, facts.total_bytes)
        else:  # it is not known yet
            self._context.progress(0, "")

    def again(self, seconds: float, keep: Mapping[str, Any]) -> LookAgain:
        pause = min(2 * self._pause, LAST_AGAIN_SECONDS)
        return LookAgain(seconds, keep={"about": self._about, "begun": self._begun, "pause": pause, **keep})


def together(copies: Sequence[CopyFacts]) -> CopyFacts:
    """Of several that go on at once."""
    done, total = sum(copy.done_bytes for copy in copies), sum(copy.total_bytes for copy in copies)
    is_complete = all(copy.is_complete for copy in copies)
    return CopyFacts(done, total, is_complete, any(copy.has_begun for copy in copies))
