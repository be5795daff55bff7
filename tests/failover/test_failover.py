"""A host fails: nothing starts elsewhere before it is certain that it is off, and nothing runs twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone

from hosts.connections import driver_for
from hosts.driver.memory import MemoryHost
from hosts.models import FenceAgent, Host, HostState, StoragePool
from hosts.services.hosts import preflight
from portal.core.errors import Conflict, Invalid
from portal.events.models import Event
from portal.operations import engine
from portal.operations.models import Operation
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM
from tests.failover.conftest import Agent, comes_back, fresh, goes_silent, powers
from tests.world import World
from vms.failover_selectors import one_stranded
from vms.models import VM, Flavor
from vms.reconcile.turn import Reconciler
from vms.services import failover
from vms.services.power import change_power
from vms.states import Action

pytestmark = pytest.mark.django_db
Work = Callable[[], list[Operation]]


def fail(world: World, host: MemoryHost) -> Host:
    """The host is off, and seems so."""
    goes_silent(host)
    Host.objects.filter(pk=world.host.pk).update(suspected_at=timezone.now(), suspicion="It is silent.", seen_at=None)
    world.host.refresh_from_db()
    return world.host


def ended(operations: list[Operation], kind: str) -> list[str]:
    return [str(operation.state) for operation in operations if operation.kind == kind]


def test_every_machine_is_elsewhere_as_it_was_wanted(
    world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work
) -> None:
    failover.begin(fail(world, host))
    done = work()
    assert ended(done, "host.failover") == ["succeeded"]
    assert set(ended(done, "vm.recover")) == {"succeeded"}
    assert agent.power == "off"
    world.host.refresh_from_db()
    assert world.host.state == HostState.FAILED
    expected = {vm.pk: vm.desired_power for vm in world.machines.values()}
    assert powers(spare) == expected
    assert ledger.used(world.host.pk) == {}
    for vm in world.machines.values():
        now = fresh(vm)
        assert (now.host_id, now.observed_power) == (spare.pk, vm.desired_power)
        assert ledger.held(spare.pk, vm.pk)["disk_gib"] == vm.disk_gib
        assert now.boot_volume.layer.pool.host_id == spare.pk


@pytest.mark.parametrize("how", ["BROKEN", "STUCK"])
def test_without_proof_nothing_starts(
    world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work, how: str
) -> None:
    agent.fail(how)
    failover.begin(fail(world, host))
    (operation,) = work()
    assert (operation.state, operation.error["code"]) == ("failed", "fencing_failed")
    assert powers(spare) == {}
    world.host.refresh_from_db()
    assert world.host.state == HostState.ENABLED
    assert Event.objects.unscoped("test").filter(kind="host.not-fenced").count() == 1
    failover.begin(world.host)
    assert len(work()) == 1, "it is tried once for each suspicion"


def test_a_check_makes_way(world: World, host: MemoryHost, spare: Host, work: Work) -> None:
    """It waits for the host that failed, and would keep its failover waiting."""
    check = preflight(actor=SYSTEM, host=fail(world, host))
    failover.begin(world.host)
    check.refresh_from_db()
    assert check.cancel_requested_at is not None


def test_without_an_agent_nothing_starts(world: World, host: MemoryHost, spare: Host, work: Work) -> None:
    FenceAgent.objects.all().delete()
    failover.begin(fail(world, host))
    (operation,) = work()
    assert (operation.state, operation.error["code"]) == ("failed", "fencing_failed")
    assert powers(spare) == {}


def test_an_agent_of_another_machine_proves_nothing(
    world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work
) -> None:
    """It says off, and the host answers."""
    agent.power = "off"
    Host.objects.filter(pk=world.host.pk).update(suspected_at=timezone.now())
    failover.begin(Host.objects.get(pk=world.host.pk))
    (operation,) = work()
    assert operation.error["code"] == "fencing_failed"
    assert "another machine" in operation.error["detail"]
    assert powers(spare) == {}


def test_a_host_that_was_started_again_meanwhile_is_fenced_again(
    world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker died between the proof and what follows from it, and somebody switched the host on."""
    monkeypatch.setattr(
        engine, "step_hook", lambda moment, step: _power_on(agent) if (moment, step) == ("before", "mark") else None
    )
    failover.begin(fail(world, host))
    assert ended(work(), "host.failover") == ["succeeded"]
    assert agent.calls.count("action=off") == 2
    assert agent.power == "off"


def _power_on(agent: Agent) -> None:
    agent.power = "on"


class TestByHand:
    def test_somebody_vouches(self, world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work) -> None:
        agent.fail("BROKEN")
        failover.confirm_off(actor=SYSTEM, host=fail(world, host), typed="one")
        assert ended(work(), "host.failover") == ["succeeded"]
        assert agent.calls == []
        assert len(powers(spare)) == len(world.machines)
        told = Event.objects.unscoped("test").get(kind="host.confirmed-off")
        assert (told.actor, told.data["detail"]) == ("system", "system typed one")

    def test_only_by_its_name(self, world: World, host: MemoryHost) -> None:
        with pytest.raises(Invalid):
            failover.confirm_off(actor=SYSTEM, host=fail(world, host), typed="two")

    def test_not_while_it_answers(self, world: World, host: MemoryHost) -> None:
        with pytest.raises(Conflict, match="answered"):
            failover.confirm_off(actor=SYSTEM, host=world.host, typed="one")


def test_what_waits_for_the_host_ends_and_its_machine_is_recovered(
    world: World, host: MemoryHost, spare: Host, work: Work
) -> None:
    web = world.machines["web"]
    fail(world, host)
    change_power(actor=SYSTEM, vm=web, action=Action.STOP)
    failover.begin(world.host)
    done = work()
    assert ended(done, "vm.stop") == ["failed"]
    assert fresh(web).host_id == spare.pk


def test_what_lies_on_the_host_alone_waits_for_it(world: World, host: MemoryHost, spare: Host, work: Work) -> None:
    StoragePool.objects.filter(host=spare).update(storage_id="other")
    world.backup("web")
    failover.begin(fail(world, host))
    done = work()
    assert ended(done, "host.failover") == ["succeeded"]
    assert ended(done, "vm.recover") == []
    web, cold = one_stranded(fresh(world.machines["web"])), one_stranded(fresh(world.machines["cold"]))
    assert (web.is_local, web.newest_backup is not None) == (True, True)
    assert (cold.is_local, cold.newest_backup) == (True, None)
    now = fresh(world.machines["web"])
    assert (now.host_id, now.observed_power, now.desired_power) == (world.host.pk, "stopped", "running")
    assert "failed" in now.problem


def test_where_room_is_scarce_priority_decides(world: World, host: MemoryHost, spare: Host, work: Work) -> None:
    urgent = Flavor.objects.create(
        slug="urgent", name="Urgent", vcpus=1, memory_mib=128, disk_gib=1, recovery_priority="high"
    )
    late = world.machines["foreign"]
    VM.objects.unscoped("test").filter(pk=late.pk).update(flavor=urgent)
    Host.objects.filter(pk=spare.pk).update(memory_mib=1024 + late.memory_mib, memory_reserved_mib=1024)
    failover.begin(fail(world, host))
    done = work()
    assert ended(done, "vm.recover") == ["succeeded"]
    assert list(powers(spare)) == [late.pk]
    Host.objects.filter(pk=spare.pk).update(memory_mib=512 * 1024)
    failover.recover_waiting()
    work()
    assert len(powers(spare)) == len(world.machines)


def test_a_failed_host_takes_nothing_and_says_why(world: World, host: MemoryHost, spare: Host, work: Work) -> None:
    StoragePool.objects.filter(host=spare).update(storage_id="other")
    failover.begin(fail(world, host))
    work()
    with pytest.raises(Conflict, match="host has failed"):
        change_power(actor=SYSTEM, vm=fresh(world.machines["cold"]), action=Action.START)


class TestComingBack:
    def test_what_runs_elsewhere_is_removed_first(
        self, world: World, host: MemoryHost, spare: Host, work: Work
    ) -> None:
        failover.begin(fail(world, host))
        work()
        comes_back(host)
        driver_for(world.host).start(world.machines["web"].pk)  # as an operator may, or a service of the host
        Reconciler().turn()
        assert powers(world.host)[world.machines["web"].pk] == "running", "nobody touches it before it is cleared"
        failover.take_back(world.host)
        assert ended(work(), "host.return") == ["succeeded"]
        assert powers(world.host) == {}
        world.host.refresh_from_db()
        assert (world.host.state, world.host.failed_at) == (HostState.CORDONED, None)
        assert powers(spare)[world.machines["web"].pk] == "running"

    def test_its_own_machines_stay_and_are_started_again(
        self, world: World, host: MemoryHost, spare: Host, work: Work
    ) -> None:
        StoragePool.objects.filter(host=spare).update(storage_id="other")
        failover.begin(fail(world, host))
        work()
        comes_back(host)
        failover.take_back(world.host)
        work()
        assert set(powers(world.host)) == {vm.pk for vm in world.machines.values()}
        Host.objects.filter(pk=world.host.pk).update(seen_at=timezone.now())
        Reconciler().turn()
        work()
        assert powers(world.host)[world.machines["web"].pk] == "running"

    def test_nothing_is_moved_from_it_while_it_is_cleared(
        self, world: World, host: MemoryHost, spare: Host, work: Work
    ) -> None:
        Host.objects.filter(pk=spare.pk).update(state=HostState.CORDONED)
        failover.begin(fail(world, host))
        work()
        failover.clear(actor=SYSTEM, host=world.host)
        Host.objects.filter(pk=spare.pk).update(state=HostState.ENABLED)
        failover.recover_waiting()
        assert not Operation.objects.unscoped("test").filter(kind="vm.recover").exists()

    def test_a_host_that_has_not_failed_is_not_cleared(self, world: World, host: MemoryHost) -> None:
        with pytest.raises(Conflict):
            failover.clear(actor=SYSTEM, host=world.host)
