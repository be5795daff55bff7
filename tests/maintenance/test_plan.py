"""What is shown before a host is emptied: the order, the room as it shrinks, who stays and why."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hosts.models import Host
from portal.core.errors import Forbidden
from portal.operations import services as operations
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM, actor_for
from tests.world import World
from vms.maintenance import reading
from vms.maintenance.plan import Plan, Way
from vms.models import VM, Flavor, Lifecycle, Power
from vms.services.migrate import migrate_vm

pytestmark = pytest.mark.django_db


def plan(world: World) -> Plan:
    return reading.plan_of(SYSTEM, Host.objects.select_related("cluster").get(pk=world.host.pk))


def names(found: Plan) -> list[str]:
    return [move.vm.name for move in found.moves]


def test_small_ones_go_first_and_those_that_are_off_last(world: World, near: Host) -> None:
    VM.objects.unscoped("test").filter(pk=world.vm("large").pk).update(memory_mib=4096)
    found = plan(world)
    assert names(found)[-2:] == ["large", "cold"]
    assert {move.way for move in found.moves if move.vm.name != "cold"} == {Way.LIVE}
    assert found.moves[-1].way == Way.COLD
    assert found.is_possible
    assert {move.target.host.name for move in found.moves if move.target} == {"two"}


def test_those_of_a_higher_priority_go_first(world: World, near: Host) -> None:
    VM.objects.unscoped("test").filter(pk=world.vm("urgent").pk).update(memory_mib=4096, flavor=world.large)
    Flavor.objects.filter(pk=world.large.pk).update(recovery_priority="high")
    assert names(plan(world))[0] == "urgent"


def test_data_that_goes_along_is_told(world: World, far: Host) -> None:
    found = plan(world)
    assert {move.way for move in found.moves} == {Way.COPY, Way.COLD}
    assert found.copied_gib == 5


def test_each_takes_room_from_those_that_come_after_it(world: World, near: Host) -> None:
    """Two machines of 128 MiB fit, and no third."""
    Host.objects.filter(pk=near.pk).update(memory_mib=1024 + 256)
    found = plan(world)
    assert [move.target is not None for move in found.moves] == [True, True, False, False, False]
    stays = found.staying[0]
    assert stays.obstacles == ("two: It has no room: 128 MiB of memory short.",)
    assert "Free room" in stays.help


def test_they_spread_over_the_hosts_as_these_fill(world: World, near: Host, far: Host) -> None:
    for each in (near, far):
        Host.objects.filter(pk=each.pk).update(memory_mib=1024 + 384)
    found = plan(world)
    assert found.is_possible
    assert {move.target.host.name for move in found.moves if move.target} == {"two", "far"}


def test_disks_of_data_need_room_as_well(world: World, near: Host) -> None:
    world.volume(vm=world.machines["web"], size_gib=50)
    pools = [{"name": "berth", "capacity_bytes": 40 << 30, "free_bytes": 40 << 30}]
    Host.objects.filter(pk=near.pk).update(pools=pools)
    (stays,) = plan(world).staying
    assert stays.vm.name == "web"
    assert "GiB of disk short" in stays.obstacles[0]


def test_what_is_promised_needs_room_as_well(world: World, near: Host) -> None:
    controls = {"cpu_weight": 100, "has_cpu_quota": True}
    Host.objects.filter(pk=near.pk).update(cpus=2, cpu_ratio=8, controls=controls)
    VM.objects.unscoped("test").filter(tenant=world.acme).update(service_class="guaranteed", cpu_floor=100)
    found = plan(world)
    assert len(found.staying) == 3  # four of 100 % and one of 12 % on two CPUs
    assert "100 percent of a CPU to promise short" in found.staying[0].obstacles[0]


def test_a_group_that_is_kept_together_gathers_elsewhere(world: World, near: Host, far: Host) -> None:
    world.group("pair", "together", "web", "paused")
    found = {move.vm.name: move for move in plan(world).moves if move.vm.tenant == world.acme}
    web, paused = found["web"].target, found["paused"].target
    assert web is not None
    assert paused is not None
    assert web.host == paused.host


def test_those_that_are_kept_apart_need_a_host_each(world: World, near: Host) -> None:
    world.group("quorum", "apart", "web", "paused")
    found = plan(world)
    assert len(found.staying) == 1
    assert "kept apart" in found.staying[0].obstacles[0]
    assert "out of the group" in found.staying[0].help


@pytest.mark.parametrize(
    ("change", "obstacle", "help_"),
    [
        ({"state": "cordoned"}, "two: It takes no machines (cordoned).", "Uncordon another host"),
        ({"accelerator": "kvm"}, "two: It runs guests in another way", "Stop it first"),
        ({"uri": "qemu:///system"}, "two: Other hosts do not know how to reach it", ""),
    ],
)
def test_what_is_in_the_way_and_what_would_help(
    world: World, far: Host, change: dict[str, str], obstacle: str, help_: str
) -> None:
    Host.objects.filter(pk=far.pk).update(name="two", **change)
    web = next(move for move in plan(world).staying if move.vm.name == "web")
    assert web.obstacles[0].startswith(obstacle)
    assert web.help.startswith(help_)


def test_a_host_alone_cannot_be_emptied(world: World, host: object) -> None:
    found = plan(world)
    assert len(found.staying) == 5
    assert found.staying[0].help == "Add another host to its cluster."


def test_what_works_on_a_machine_is_told(world: World, near: Host) -> None:
    operations.submit  # noqa: B018  the kind is registered
    begun = world.operation(world.machines["web"])
    waits = {move.vm.name: move.waits for move in plan(world).moves if move.waits}
    assert waits == {"web": begun.title}


def test_one_that_is_broken_stays(world: World, near: Host) -> None:
    VM.objects.unscoped("test").filter(pk=world.machines["cold"].pk).update(lifecycle=Lifecycle.ERROR)
    (stays,) = plan(world).staying
    assert (stays.vm.name, stays.obstacles) == ("cold", ("It can be moved to another host once it is built.",))


def test_as_many_queries_for_many_as_for_one(world: World, near: Host, far: Host) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            plan(world)
        return len(captured)

    few = queries()
    for number in range(20):
        world.vm(f"more-{number}", power=Power.STOPPED if number % 2 else Power.RUNNING)
    assert queries() == few


def test_it_says_what_the_service_does(world: World, near: Host, far: Host) -> None:
    planned = {move.vm.pk: move.target.host.name for move in plan(world).moves if move.target}
    first = plan(world).moves[0].vm
    begun = migrate_vm(actor=SYSTEM, vm=VM.objects.unscoped("test").get(pk=first.pk))
    assert Host.objects.get(pk=begun.params["to"]).name == planned[first.pk]


def test_a_rolling_plan_leaves_out_what_is_not_rolled_over(world: World, near: Host) -> None:
    Host.objects.filter(pk=near.pk).update(state="maintenance")
    assert [each.host.name for each in reading.rolling_plan(SYSTEM, world.host.cluster)] == ["one"]


def test_volumes_of_no_machine_that_would_stay_are_told(world: World, far: Host) -> None:
    world.volume()
    assert plan(world).loose_volumes == 1
    answer = world.caller("admin").get(f"/api/v1/hosts/{world.host.name}/drain-plan")
    assert answer.json()["loose_volumes"] == 1


def test_a_rolling_plan_is_one_for_each_host(world: World, near: Host) -> None:
    plans = reading.rolling_plan(SYSTEM, world.host.cluster)
    assert [(found.host.name, len(found.moves), found.is_possible) for found in plans] == [
        ("one", 5, True),
        ("two", 0, True),
    ]


def test_a_plan_claims_nothing(world: World, near: Host) -> None:
    plan(world)
    assert ledger.used(near.pk) == {}


def test_a_tenant_may_not_see_it(world: World, near: Host) -> None:
    with pytest.raises(Forbidden):
        reading.plan_of(actor_for(world.people["owner"]), world.host)
