"""Fixtures of the engine's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portal.core.ids import uuid7
from portal.operations import workflow
from portal.operations.models import Operation
from portal.operations.workflow import Workflow
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from tests.engine.kind import STEPS, World, submit


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()
    ended: list[str] = []
    kind = Workflow(
        kind="test.kind",
        doing="testing",
        done="tested",
        permission=Permission.HOST_WRITE,
        steps=tuple(world.step(name) for name in STEPS),
        succeeded=lambda operation, outputs: ended.append("succeeded"),
        unwound=lambda operation: ended.append("unwound"),
    )
    monkeypatch.setitem(workflow._registry, "test.kind", kind)
    world.ended = ended  # type: ignore[attr-defined]
    world.kind = kind  # type: ignore[attr-defined]
    return world


@pytest.fixture
def target(db: None) -> Tenant:
    return Tenant.objects.create(name="T", slug=f"t-{uuid7().hex[-8:]}")


@pytest.fixture
def operation(world: World, target: Tenant) -> Operation:
    return submit(world, target)
