"""Emptying a host in memory: how many at once, what is waited for, what stays, and what the host is afterwards."""

from __future__ import annotations

from collections import Counter

import pytest

from hosts.connections import driver_for
from hosts.driver import errors
from hosts.driver.memory import MemoryHost
from hosts.models import Host
from hosts.services.hosts import remove_host, set_state
from portal.accounts.models import User
from portal.core.errors import Conflict, Forbidden, Invalid, NotFound
from portal.events.models import Event
from portal.operations import engine
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM, actor_for
from tests.maintenance.conftest import Work
from tests.world import World
from vms.audit.run import audit
from vms.maintenance.drain import drain_host
from vms.models import VM, Layer

pytestmark = pytest.mark.django_db


def drain(world: World, concurrency: int = 2) -> Operation:
    return drain_host(actor=SYSTEM, host=Host.objects.get(pk=world.host.pk), concurrency=concurrency)


def state(host: Host) -> str:
    return Host.objects.get(pk=host.pk).state


def moves() -> list[Operation]:
    return list(Operation.objects.unscoped("test").filter(kind="vm.migrate").order_by("created_at"))


def left(host: Host) -> set[str]:
    return set(VM.objects.unscoped("test").filter(host=host).values_list("name", flat=True))


def look(operation: Operation) -> None:
    Operation.objects.unscoped("test").filter(pk=operation.pk).update(not_before=None)
    engine.run(operation.pk)


def test_all_go_each_once_and_the_host_is_in_maintenance(world: World, near: Host, work: Work) -> None:
    operation = drain(world)
    assert state(world.host) == "draining"
    operation = work(operation)
    assert operation.state == "succeeded", operation.error
    assert left(world.host) == set()
    assert set(Counter(move.target_id for move in moves()).values()) == {1}
    assert len(moves()) == 5
    assert state(world.host) == "maintenance"
    assert ledger.used(world.host.pk) == {}
    assert audit() == []
    told = Event.objects.unscoped("test").filter(kind="host.state-changed").order_by("at", "id")
    assert [event.data["after"]["state"] for event in told] == ["draining", "maintenance"]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_at_once_than_was_said(world: World, near: Host, concurrency: int) -> None:
    operation = drain(world, concurrency)
    for _ in range(3):
        look(operation)
        assert len(moves()) == concurrency
    engine.run(moves()[0].pk)
    look(operation)
    assert len(moves()) == concurrency + 1


def test_it_keeps_no_worker_and_no_lane(world: World, near: Host) -> None:
    operation = drain(world)
    look(operation)
    operation.refresh_from_db()
    assert (operation.lane, operation.lease_owner, operation.waiting_for) == ("", "", "")
    assert operation.told_state == "running"
    assert operation.steps.get().detail == "0 of 5 machines moved, 0 on their way"


def test_a_worker_that_dies_after_it_began_some_begins_none_of_them_again(
    world: World, near: Host, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    operation = drain(world)
    monkeypatch.setattr("vms.maintenance.drain._Look.again", die)
    with pytest.raises(Killed):
        look(operation)
    monkeypatch.undo()
    assert len(moves()) == 2
    Operation.objects.unscoped("test").filter(pk=operation.pk).update(lease_until=None, lease_owner="")
    assert work(operation).state == "succeeded"
    assert set(Counter(move.target_id for move in moves()).values()) == {1}


def test_one_that_fails_twice_stays_and_the_others_go(world: World, host: MemoryHost, far: Host, work: Work) -> None:
    for _ in range(2):
        host.fail_next("migrate", errors.DriverError("internal error"))
    operation = work(drain(world, 1))
    assert operation.state == "failed"
    assert operation.error is not None
    assert operation.error["code"] == "host_not_empty"
    (name,) = left(world.host)
    assert f"{name}: The host could not do it" in operation.error["detail"]
    assert state(world.host) == "draining"
    assert ledger.used(world.host.pk)["vcpus"] == 1
    assert audit() == []


def test_one_that_fails_once_is_tried_again(world: World, host: MemoryHost, far: Host, work: Work) -> None:
    host.fail_next("migrate", errors.DriverError("internal error"))
    assert work(drain(world, 1)).state == "succeeded"
    assert len(moves()) == 6


def test_those_that_find_no_room_stay_and_are_named(world: World, near: Host, work: Work) -> None:
    Host.objects.filter(pk=near.pk).update(memory_mib=1024 + 384)
    operation = work(drain(world))
    assert operation.error is not None
    assert operation.error["detail"].startswith("2 machines stay on the host, which takes no new ones.")
    assert "no room" in operation.error["detail"]
    assert len(left(world.host)) == 2
    again = work(drain(world))
    assert again.state == "failed"
    Host.objects.filter(pk=near.pk).update(memory_mib=8192)
    assert work(drain(world)).state == "succeeded"


def test_what_a_tenant_has_begun_is_waited_for(world: World, near: Host, work: Work) -> None:
    begun = world.operation(world.machines["web"])
    operation = drain(world, 16)
    for _ in range(3):
        look(operation)
        for move in moves():
            engine.run(move.pk)
    look(operation)
    operation.refresh_from_db()
    assert left(world.host) == {"web"}
    assert operation.waiting_for == f"the end of “{begun.title}”"
    Operation.objects.unscoped("test").filter(pk=begun.pk).delete()
    assert work(operation).state == "succeeded"


def test_machines_of_a_group_follow_the_first_one_by_one(world: World, near: Host, far: Host, work: Work) -> None:
    world.group("pair", "together", "web", "paused", "cold")
    operation = drain(world, 16)
    look(operation)
    assert len(moves()) == 3  # busy, the other tenant's, and one of the group
    assert work(operation).state == "succeeded"
    hosts = VM.objects.unscoped("test").filter(name__in=["web", "paused", "cold"], tenant=world.acme)
    assert len(set(hosts.values_list("host", flat=True))) == 1


def test_a_cancel_begins_no_more_and_cordons_the_host(world: World, near: Host, work: Work) -> None:
    operation = drain(world)
    look(operation)
    operations.cancel(actor=SYSTEM, operation=operation)
    look(operation)
    operation.refresh_from_db()
    assert operation.state == "cancelled"
    assert state(world.host) == "cordoned"
    for move in moves():
        assert work(move).state == "succeeded"
    assert len(moves()) == 2
    assert len(left(world.host)) == 3


def test_a_host_that_is_put_back_ends_its_drain(world: World, near: Host) -> None:
    operation = drain(world)
    look(operation)
    set_state(actor=SYSTEM, host=Host.objects.get(pk=world.host.pk), state="enabled")  # type: ignore[arg-type]
    look(operation)
    operation.refresh_from_db()
    assert operation.error is not None
    assert (operation.state, operation.error["code"]) == ("failed", "put_back")
    assert state(world.host) == "enabled"


def test_what_is_on_its_way_to_it_is_waited_for(world: World, near: Host, work: Work) -> None:
    work(drain(world))
    set_state(actor=SYSTEM, host=Host.objects.get(pk=world.host.pk), state="enabled")  # type: ignore[arg-type]
    ledger.hold(world.host.pk, near.pk, {"vcpus": 1}, {})
    operation = drain(world)
    look(operation)
    operation.refresh_from_db()
    assert "on their way here" in operation.waiting_for
    ledger.release(near.pk, world.host.pk)
    assert work(operation).state == "succeeded"


def test_a_machine_that_goes_at_the_wrong_moment_does_not_end_it(
    world: World, near: Host, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(**_: object) -> Operation:
        raise NotFound("This machine is gone.")

    operation = drain(world)
    monkeypatch.setattr("vms.maintenance.drain.migrate_vm", gone)
    look(operation)
    operation.refresh_from_db()
    assert operation.is_active
    monkeypatch.undo()
    assert work(operation).state == "succeeded"


def test_a_refusal_is_asked_again_once_nothing_is_on_its_way(world: World, near: Host, work: Work) -> None:
    Host.objects.filter(pk=near.pk).update(memory_mib=1024 + 384)
    operation = drain(world, 16)
    look(operation)
    assert len(moves()) == 3
    for move in moves():
        engine.run(move.pk)
    Host.objects.filter(pk=near.pk).update(memory_mib=8192)
    assert work(operation).state == "succeeded"


def test_a_refusal_that_was_repeated_stays(world: World, near: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(*, vm: VM, **_: object) -> Operation:
        asked.append(str(vm.pk))
        raise Conflict("No host can take it.", code="cannot_migrate")

    monkeypatch.setattr("vms.maintenance.drain.migrate_vm", refuse)
    operation = drain(world)
    for _ in range(5):
        look(operation)
    operation.refresh_from_db()
    assert operation.error is not None
    assert operation.error["code"] == "host_not_empty"
    assert set(Counter(asked).values()) == {2}


def admin(world: World) -> User:
    return world.people["admin"]


@pytest.mark.parametrize("change", [{"provider_role": ""}, {"is_active": False}])
def test_whose_right_was_taken_away_moves_no_more_machines(
    world: World, near: Host, work: Work, change: dict[str, object]
) -> None:
    operation = drain_host(actor=actor_for(admin(world)), host=world.host, concurrency=2)
    look(operation)
    assert [move.user for move in moves()] == [admin(world)] * 2
    User.objects.filter(pk=admin(world).pk).update(**change)
    operation = work(operation)
    assert operation.error is not None
    assert (operation.state, operation.error["code"]) == ("failed", "forbidden")
    assert len(moves()) == 2


def test_loose_volumes_and_what_others_stand_on_do_not_keep_it(world: World, near: Host, work: Work) -> None:
    volume = world.volume()
    driver_for(world.host).ensure_volume("berth", volume.layer.file_name, volume.layer.size_bytes)
    assert work(drain(world)).state == "succeeded"
    assert ledger.used(world.host.pk) == {}
    assert Layer.objects.get(volume=volume).pool.host_id == near.pk
    top = Layer.objects.get(volume__vm=world.machines["web"], volume__is_boot=True)
    base = Layer.objects.create(pool=world.host.default_pool, size_gib=1)
    Layer.objects.filter(pk=top.pk).update(parent=base, image=None)
    remove_host(actor=SYSTEM, host=Host.objects.get(pk=world.host.pk))
    assert Layer.objects.get(pk=base.pk).pool.host_id == near.pk


def test_what_only_it_sees_keeps_it(world: World, far: Host, work: Work) -> None:
    world.volume()
    assert work(drain(world)).state == "succeeded"
    with pytest.raises(Conflict):
        remove_host(actor=SYSTEM, host=Host.objects.get(pk=world.host.pk))


def test_an_empty_host_is_in_maintenance_at_once(world: World, near: Host, work: Work) -> None:
    operation = drain_host(actor=SYSTEM, host=near)
    assert work(operation).state == "succeeded"
    assert state(near) == "maintenance"


def test_what_is_refused(world: World, near: Host) -> None:
    with pytest.raises(Forbidden):
        drain_host(actor=actor_for(world.people["owner"]), host=world.host)
    for wrong in (0, 17):
        with pytest.raises(Invalid):
            drain(world, wrong)
    assert state(world.host) == "enabled"
    Host.objects.filter(pk=world.host.pk).update(state="failed")
    with pytest.raises(Conflict):
        drain(world)


def test_a_second_drain_is_refused(world: World, near: Host) -> None:
    drain(world)
    with pytest.raises(Conflict) as refusal:
        drain(world)
    assert refusal.value.code == "operation_in_progress"
