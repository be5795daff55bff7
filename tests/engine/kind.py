"""A kind of operation for the engine's tests, whose steps run into whatever a test wants."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from portal.operations import engine, services
from portal.operations.models import Operation
from portal.operations.workflow import Step, StepContext
from portal.tenancy.gate import SYSTEM
from portal.tenancy.models import Tenant

STEPS = ("one", "two", "three")


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs, not even the engine's own handlers."""


class World:
    """What the steps do to the world, and what they are told to run into."""

    def __init__(self) -> None:
        self.made: set[str] = set()
        self.log: list[str] = []
        self.trouble: dict[str, list[BaseException]] = {}

    def stumble(self, at: str) -> None:
        if self.trouble.get(at):
            raise self.trouble[at].pop(0)

    def step(self, name: str) -> Step:
        def run(context: StepContext) -> dict[str, Any]:
            self.log.append(f"run {name}")
            self.stumble(name)
            self.made.add(name)
            self.stumble(f"{name} done")
            return {f"{name}_output": name}

        def undo(context: StepContext) -> None:
            self.log.append(f"undo {name}")
            self.stumble(f"undo {name}")
            self.made.discard(name)

        return Step(name, name.capitalize(), run, undo)


def submit(world: World, target: Tenant) -> Operation:
    return services.submit(world.kind, actor=SYSTEM, target=target, title="Test")  # type: ignore[attr-defined]


def fresh(operation: Operation) -> Operation:
    return Operation.objects.unscoped("test").get(pk=operation.pk)


def expire_lease(operation: Operation) -> None:
    rows = Operation.objects.unscoped("test").filter(pk=operation.pk)
    now = timezone.now()
    rows.update(lease_until=now - timedelta(seconds=1), rung_at=now - timedelta(seconds=20), not_before=None)


def run_to_the_end(operation: Operation) -> Operation:
    for _ in range(50):
        expire_lease(operation)
        engine.run(operation.pk)
        if not fresh(operation).is_active:
            return fresh(operation)
    raise AssertionError(f"still {fresh(operation).state}")
