"""What a kind of operation is made of, and where the engine finds it.

docs/adding-an-operation.md walks through a new one. The engine calls only what stands here; workflows live in the apps
that own their targets and register at start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from portal.core.pace import Amount
from portal.operations.models import Operation
from portal.operations.states import BEGUN, StepState
from portal.tenancy.roles import Permission

Output = Mapping[str, Any] | None


class Progress(Protocol):
    def __call__(self, fraction: float, words: str, amount: Amount | None = None) -> None: ...


@dataclass
class StepContext:
    """What a step sees: the frozen parameters, the outputs of earlier steps, and a way to report.

    `fence` is the number of this attempt; steps write it into what they make on a host.
    `progress(fraction, words)` also is the point at which a cancelled or fenced-off operation stops: it may raise.
    What moves bytes calls `moved` in its place: pages and API then tell how many, and the time left.
    `kept` is what this step put by when it last raised LookAgain, in whichever process.
    `check()` raises where this worker no longer holds the operation; to be called before each change outside.
    `stop_if_asked()` is the same point as `progress`, where there is nothing to report.
    """

    operation: Operation
    params: Mapping[str, Any]
    outputs: dict[str, Any]
    fence: int
    kept: Mapping[str, Any]
    progress: Progress
    check: Callable[[], None]
    stop_if_asked: Callable[[], None]

    def moved(self, done_bytes: int, total_bytes: int, words: str = "") -> None:
        """So much is done; `words` say what the title of the step does not. It may raise as `progress` does."""
        amount = Amount(done_bytes, total_bytes)
        self.progress(amount.fraction, words, amount)


def _nothing(context: StepContext) -> None:
    return None


@dataclass(frozen=True)
class Step:
    """One step. `run` looks before it leaps: run twice in a row, the same state results.

    `undo` removes what `run` may have left, also when `run` was cut off half-way; it too may be run twice.
    `deadline` is how long either may go on without a word of progress before the worker is taken for stuck.
    `lets_go`: when it is done, what the operation holds beside its target is free for others; no undo may need it then.
    `is_final`: what it does cannot be undone. Once it is begun neither a cancel, nor the deadline, nor any error turns
    the operation round: it is tried until it is done. What may fail for good is looked at in a step before it.
    `seals`: once it is done there is no way back either; until then it may fail, be cancelled or come too late.
    `repeatable` False is for the few that cannot look: not tried again, and not after a crash in the middle.
    """

    name: str
    title: str
    run: Callable[[StepContext], Output]
    undo: Callable[[StepContext], None] = _nothing
    weight: int = 1
    deadline: timedelta = timedelta(minutes=5)
    repeatable: bool = True
    lets_go: bool = False
    is_final: bool = False
    seals: bool = False

    @property
    def has_undo(self) -> bool:
        return self.undo is not _nothing

    def is_past_return(self, state: str) -> bool:
        """Whether there is no way back from it in that state (StepState)."""
        return (self.is_final and state in BEGUN) or (self.seals and state == StepState.DONE)


class TransientError(Exception):
    """A step cannot go on now but may later; the words are shown as what the operation waits for.

    `is_lane_down`: the others of its lane (its host) cannot go on either.
    """

    def __init__(self, words: str, *, is_lane_down: bool = False) -> None:
        super().__init__(words)
        self.is_lane_down = is_lane_down


class LookAgain(Exception):
    """What the step waits for takes its time: run it again in some seconds. Until then it keeps no worker.

    `words` say what it waits for; without any it goes on by itself, as a copy does, and is shown as under way.
    `keep` is put by for that run (StepContext.kept); it is no output.
    """

    def __init__(self, seconds: float, words: str = "", keep: Mapping[str, Any] | None = None) -> None:
        super().__init__(words)
        self.seconds = seconds
        self.keep = dict(keep or {})


class StepFailed(Exception):
    """A step cannot be done. `code` and words become the operation's error."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class PlaceLost(StepFailed):
    """The place that the step works on is gone, with all that was there: its undo has nothing left to undo."""


@dataclass(frozen=True)
class Workflow:
    """A kind of operation. `doing` and `done` are words for people: what is under way with its target, and was.

    `translate` turns an exception of the app's own (a driver's) into TransientError or StepFailed, or returns None.
    `succeeded` and `unwound` settle the database in the transaction that ends the operation.
    `version` rises when the steps change; journals of other versions turn round and undo what they did. Those of the
    versions in `continues` are gone on with: without the steps that are new since, and without doing or undoing those
    that are gone, unless these stand in `former`: they are still done where a journal has them.
    `gives_way`: nobody asked for it, so it keeps nobody waiting. Whoever asks for what it works on is accepted; it is
    cancelled, and the other begins when it has ended.
    """

    kind: str
    doing: str
    done: str
    steps: tuple[Step, ...]
    permission: Permission
    succeeded: Callable[[Operation, Mapping[str, Any]], None]
    unwound: Callable[[Operation], None]
    translate: Callable[[Exception], Exception | None] = field(default=lambda error: None)
    deadline: timedelta = timedelta(minutes=15)
    cancellable: bool = True
    version: int = 1
    continues: frozenset[int] = frozenset()
    former: tuple[Step, ...] = ()
    gives_way: bool = False

    def is_past_return(self, states: Mapping[str, str]) -> bool:
        """Whether there is no way back from where its steps are, by name."""
        known = (*self.steps, *self.former)
        return any(step.is_past_return(states[step.name]) for step in known if step.name in states)

    def goes_on_with(self, version: int) -> bool:
        return version == self.version or version in self.continues


_registry: dict[str, Workflow] = {}


def register(workflow: Workflow) -> Workflow:
    if workflow.kind in _registry:
        raise ValueError(f"two workflows of kind {workflow.kind}")
    _registry[workflow.kind] = workflow
    return workflow


def workflow_of(kind: str) -> Workflow:
    """Raises KeyError where no app of this version registered the kind."""
    return _registry[kind]


def kinds() -> list[str]:
    """Of this version of Berth."""
    return sorted(_registry)
