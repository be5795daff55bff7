"""What nobody asked for keeps nobody waiting: it is cancelled for what is asked for, which begins when it has ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portal.core.errors import Conflict
from portal.core.ids import uuid7
from portal.operations import engine, services, workflow
from portal.operations.models import Operation, OperationHold
from portal.operations.selectors import active_on_each, in_the_way
from portal.operations.states import State
from portal.operations.workflow import LookAgain, TransientError
from portal.tenancy.gate import SYSTEM
from portal.tenancy.models import Tenant
from tests.engine.kind import World, fresh, run_to_the_end, submit

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tidying(world: World, target: Tenant, monkeypatch: pytest.MonkeyPatch) -> Operation:
    """Under way, and waiting for something outside."""
    kind = replace(world.kind, kind="test.tidy", gives_way=True)  # type: ignore[attr-defined]
    monkeypatch.setitem(workflow._registry, "test.tidy", kind)
    world.tidy = kind  # type: ignore[attr-defined]
    world.trouble["two"] = [LookAgain(60)]
    operation = services.submit(kind, actor=SYSTEM, target=target, title="Tidy", holds=[_other()])
    engine.run(operation.pk)
    return operation


def _other() -> Tenant:
    found = Tenant.objects.unscoped("test").filter(slug="other").first()
    return found or Tenant.objects.create(slug="other", name="Other")


def test_it_is_in_nobodys_way(tidying: Operation, target: Tenant) -> None:
    found = active_on_each([target.pk])[target.pk]
    assert (found, in_the_way(found), in_the_way(None)) == (tidying, "", "")


def test_what_is_asked_for_begins_when_it_has_ended(world: World, tidying: Operation, target: Tenant) -> None:
    wanted = submit(world, target)
    assert in_the_way(active_on_each([target.pk])[target.pk]) == "Test"
    with pytest.raises(Conflict, match="Test"):
        submit(world, target)
    engine.run(wanted.pk)
    waiting = fresh(wanted)
    assert (waiting.state, waiting.waiting_for) == (State.QUEUED, "“Tidy” to give way")
    engine.run(tidying.pk)
    ended = fresh(tidying)
    assert (ended.state, ended.error["code"]) == (State.CANCELLED, "cancelled")
    assert "begins it again" in ended.error["detail"]
    assert world.made == set()
    assert run_to_the_end(wanted).state == State.SUCCEEDED
    assert fresh(wanted).fence > ended.fence


def test_also_for_what_it_holds_and_for_those_who_share_that(world: World, tidying: Operation) -> None:
    readers = []
    for _ in range(2):
        target = Tenant.objects.create(name="R", slug=f"r-{uuid7().hex[-8:]}")
        kind = world.kind  # type: ignore[attr-defined]
        readers.append(services.submit(kind, actor=SYSTEM, target=target, title="Read", shares=[_other()]))
    assert OperationHold.objects.filter(object_id=_other().pk, is_active=True, is_shared=True).count() == 3
    for reader in readers:
        engine.run(reader.pk)
        assert fresh(reader).waiting_for == "“Tidy” to give way"
    engine.run(tidying.pk)
    assert [run_to_the_end(reader).state for reader in readers] == [State.SUCCEEDED] * 2


def test_it_takes_nobodys_place_itself(world: World, tidying: Operation, target: Tenant) -> None:
    with pytest.raises(Conflict):
        services.submit(world.tidy, actor=SYSTEM, target=target, title="Tidy")  # type: ignore[attr-defined]
    assert not fresh(tidying).gives_way
    wanted = submit(world, target)
    with pytest.raises(Conflict):
        services.submit(world.tidy, actor=SYSTEM, target=target, title="Tidy")  # type: ignore[attr-defined]
    assert fresh(wanted).is_active


def test_one_that_is_undone_is_waited_for(world: World, tidying: Operation, target: Tenant) -> None:
    world.trouble["undo one"] = [TransientError("the host does not answer")]
    wanted = submit(world, target)
    engine.run(tidying.pk)
    assert fresh(tidying).state == State.UNWINDING
    engine.run(wanted.pk)
    assert fresh(wanted).started_at is None
    assert run_to_the_end(tidying).state == State.CANCELLED
    assert run_to_the_end(wanted).state == State.SUCCEEDED


def test_what_waits_for_it_can_be_cancelled(world: World, tidying: Operation, target: Tenant) -> None:
    wanted = submit(world, target)
    services.cancel(actor=SYSTEM, operation=wanted)
    engine.run(wanted.pk)
    assert fresh(wanted).state == State.CANCELLED
    assert world.ended == ["unwound"]  # type: ignore[attr-defined]


def test_one_that_is_stuck_gives_no_way(tidying: Operation, world: World, target: Tenant) -> None:
    Operation.objects.unscoped("test").filter(pk=tidying.pk).update(state=State.STUCK)
    with pytest.raises(Conflict):
        submit(world, target)
