"""A kind of thing that schedules make: rows in a list, each by an operation that a test ends as it likes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import Any
from uuid import UUID, uuid4

import pytest

from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.states import State
from portal.tenancy.gate import SYSTEM, Actor
from tests.world import World
from vms.models import VM, Schedule, ScheduleKind
from vms.scheduling import makers
from vms.services import guard, schedules
from vms.services.schedules import ScheduleIn
from vms.states import Action
from vms.workflows.power import WORKFLOWS


@dataclass
class Shelf:
    """`there` has what is whole, in the order of making; `refusal` is raised by whoever asks for more."""

    there: list[UUID] = field(default_factory=list)
    made: list[UUID] = field(default_factory=list)
    deletions: list[UUID] = field(default_factory=list)
    refusal: Exception | None = None

    def make(self, actor: Actor, schedule: Schedule, now: datetime) -> tuple[UUID, Operation]:
        if self.refusal:
            raise self.refusal
        guard.require(actor, schedule.vm, Action.REBOOT)
        id = uuid4()
        self.made.append(id)
        return id, operations.submit(WORKFLOWS[Action.REBOOT], actor=actor, target=schedule.vm, title="Make")

    def delete(self, actor: Actor, id: UUID) -> Operation:
        vm = VM.objects.unscoped("test").filter(name="web", tenant__slug="acme").get()
        operation = operations.submit(WORKFLOWS[Action.REBOOT], actor=actor, target=vm, title="Delete")
        self.deletions.append(id)
        return operation

    def whole(self, ids: Collection[UUID]) -> set[UUID]:
        return set(ids) & set(self.there)

    def end(self, state: State = State.SUCCEEDED) -> None:
        """What is under way ends; what was made is there where that went well."""
        rows = Operation.objects.unscoped("test").filter(state=State.QUEUED)
        if rows.filter(title="Delete").exists() and state == State.SUCCEEDED:
            self.there.remove(self.deletions[-1])
        elif rows.filter(title="Make").exists() and state == State.SUCCEEDED:
            self.there.append(self.made[-1])
        rows.update(state=state, error={"detail": "It broke."} if state == State.FAILED else None)


@pytest.fixture
def shelf(world: World, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    found = Shelf()
    maker = makers.Maker(make=found.make, delete=found.delete, whole=found.whole)
    monkeypatch.setattr(makers, "_makers", {ScheduleKind.SNAPSHOT: maker})
    Operation.objects.unscoped("test").all().delete()
    return found


@pytest.fixture
def schedule(world: World, shelf: Shelf) -> Callable[..., Schedule]:
    """One of `web`, daily at 03:00 UTC unless told otherwise; due at a moment of the test's choice."""

    def make(due_at: datetime | None = None, **more: Any) -> Schedule:
        values = {"kind": "snapshot", "every": "daily", "at": time(3, 0), "keep": {"last": 3}, **more}
        made = schedules.create(actor=SYSTEM, vm=world.machines["web"], request=ScheduleIn(**values))
        if due_at:
            rows = Schedule.objects.unscoped("test").filter(pk=made.pk)
            rows.update(due_at=due_at, next_at=due_at)
            made.refresh_from_db(from_queryset=Schedule.objects.unscoped("test"))
        return made

    return make


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
