"""A machine that is on its way counts on both hosts: no group is broken by one that arrives."""

from __future__ import annotations

from typing import Any

import pytest

from hosts.models import Host
from hosts.placement import NoCapacity
from portal.core.errors import Conflict
from portal.operations import engine
from portal.operations.models import Operation
from portal.tenancy.gate import SYSTEM
from tests.audit.mirror import beside, mirrored
from tests.migration.test_migrate import fresh, move, run
from tests.world import World
from vms import migration
from vms.models import VM
from vms.services.groups import add_member
from vms.services.migrate import migrate_vm
from vms.wanted import bonds_of, wanted_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def near(world: World) -> Host:
    """It sees the same storage."""
    Operation.objects.unscoped("test").all().delete()
    mirrored(world)
    return beside(world)


@pytest.fixture
def third(world: World, near: Host) -> Host:
    return beside(world, "third")


def begin(vm: VM, host: Host) -> Operation:
    return migrate_vm(actor=SYSTEM, vm=fresh(vm), host=host.name)


def create(world: World, group: str) -> Any:
    body = {"name": "new", "image": "tiny", "flavor": "small", "tenant": "acme", "groups": [group]}
    return world.caller("owner").post("vms", body)


class TestApart:
    def test_of_two_that_move_at_once_one_is_refused(self, world: World, near: Host, third: Host) -> None:
        web, cold = world.machines["web"], world.machines["cold"]
        move(cold, near)
        world.group("quorum", "apart", "web", "cold")
        going = begin(web, third)
        with pytest.raises(Conflict, match="kept apart"):
            begin(cold, third)
        assert run(going).state == "succeeded"
        assert fresh(web).host_id != fresh(cold).host_id

    def test_nobody_follows_to_a_host_that_is_not_left_yet(self, world: World, near: Host, third: Host) -> None:
        web, cold = world.machines["web"], world.machines["cold"]
        move(cold, near)
        world.group("quorum", "apart", "web", "cold")
        begin(web, third)
        with pytest.raises(Conflict, match="kept apart"):
            begin(cold, world.host)

    def test_who_has_looked_before_the_other_began_is_refused(
        self, world: World, near: Host, third: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        web, cold = world.machines["web"], world.machines["cold"]
        move(cold, near)
        world.group("quorum", "apart", "web", "cold")
        looked = migration.precheck(fresh(cold))
        begin(web, third)
        monkeypatch.setattr(migration, "precheck", lambda vm: looked)
        with pytest.raises(NoCapacity, match="kept apart"):
            begin(cold, third)

    def test_a_new_one_goes_to_neither_host(self, world: World, near: Host) -> None:
        world.group("quorum", "apart", "web")
        going = begin(world.machines["web"], near)
        refused = create(world, "quorum")
        assert (refused.status_code, refused.json()["constraint"]) == (409, "apart")
        run(going)
        made = create(world, "quorum")
        assert VM.objects.unscoped("test").get(pk=made.json()["vm"]["id"]).host_id == world.host.pk

    @pytest.mark.parametrize("joining", ["web", "cold"], ids=["the one on its way", "the other one"])
    def test_nobody_joins_meanwhile(self, world: World, near: Host, joining: str) -> None:
        web, cold = world.machines["web"], world.machines["cold"]
        move(cold, near)
        (member,) = {"web", "cold"} - {joining}
        group = world.group("quorum", "apart", member)
        going = begin(web, near)
        with pytest.raises(Conflict) as refusal:
            add_member(actor=SYSTEM, group=group, vm=fresh(world.machines[joining]))
        assert refusal.value.code == "group_conflict"
        assert "on its way" in refusal.value.detail
        run(going)
        with pytest.raises(Conflict, match="same host"):
            add_member(actor=SYSTEM, group=group, vm=fresh(world.machines[joining]))
        move(web, world.host)
        add_member(actor=SYSTEM, group=group, vm=fresh(world.machines[joining]))
        assert sorted(group.members.values_list("name", flat=True)) == ["cold", "web"]
        assert fresh(cold).host_id == near.pk


class TestTogether:
    def test_nobody_can_be_with_one_on_its_way(self, world: World, near: Host) -> None:
        world.group("pair", "together", "web")
        going = begin(world.machines["web"], near)
        refused = create(world, "pair")
        assert (refused.status_code, refused.json()["constraint"]) == (409, "together")
        run(going)
        made = create(world, "pair")
        assert VM.objects.unscoped("test").get(pk=made.json()["vm"]["id"]).host_id == near.pk

    def test_nobody_joins_meanwhile(self, world: World, near: Host) -> None:
        group = world.group("pair", "together", "web")
        going = begin(world.machines["web"], near)
        with pytest.raises(Conflict, match="on its way"):
            add_member(actor=SYSTEM, group=group, vm=fresh(world.machines["cold"]))
        run(going)
        move(world.machines["cold"], near)
        add_member(actor=SYSTEM, group=group, vm=fresh(world.machines["cold"]))

    def test_where_its_host_is_emptied_they_gather_where_it_goes(self, world: World, near: Host, third: Host) -> None:
        world.group("pair", "together", "web", "cold")
        Host.objects.filter(pk=world.host.pk).update(state="draining")
        begin(world.machines["web"], near)
        with pytest.raises(Conflict, match="kept together"):
            begin(world.machines["cold"], third)
        assert migrate_vm(actor=SYSTEM, vm=fresh(world.machines["cold"])).params["to"] == str(near.pk)


def test_it_counts_where_it_may_come_to_be_though_its_host_failed(world: World, near: Host) -> None:
    web, cold = world.machines["web"], world.machines["cold"]
    world.group("quorum", "apart", "web", "cold")
    begin(web, near)
    Host.objects.filter(pk=world.host.pk).update(state="failed")
    assert wanted_of(fresh(cold)).apart == {near.pk: "quorum"}


def test_one_that_has_arrived_counts_there_alone(world: World, near: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it left behind is still being removed."""
    web, cold = world.machines["web"], world.machines["cold"]
    world.group("quorum", "apart", "web", "cold")
    going = begin(web, near)

    def stop(moment: str, step: str) -> None:
        if (moment, step) == ("before", "clear"):
            raise KeyboardInterrupt

    monkeypatch.setattr(engine, "step_hook", stop)
    with pytest.raises(KeyboardInterrupt):
        engine.run(going.pk)
    going.refresh_from_db()
    assert going.is_active
    (bond,) = bonds_of([cold])[cold.pk]
    assert bond.hosts[web.pk] == {near.pk}
