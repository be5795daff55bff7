"""A host fails: nothing starts elsewhere before it is certain that it is off, and nothing runs twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hosts import fencing, suspicion
from hosts.connections import driver_for
from hosts.driver import errors, memory
from hosts.driver.memory import MemoryHost
from hosts.models import Cluster, FenceAgent, Host, HostState, Placement, StoragePool
from hosts.observe import Reading
from hosts.services.hosts import preflight
from portal.core.errors import Conflict, Invalid
from portal.events.models import Event
from portal.operations import engine
from portal.operations import services as operations
from portal.operations.models import Operation, OperationStep
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM
from tests.failover.conftest import Agent, comes_back, fresh, goes_silent, powers
from tests.world import World, make_host
from vms import observed, storage
from vms.failover_selectors import one_stranded
from vms.guarantee import of_vm
from vms.maintenance.drain import drain_host
from vms.models import VM, Flavor, Layer
from vms.reconcile.turn import Reconciler
from vms.services import failover
from vms.services.power import change_power
from vms.states import Action
from vms.takeover import of_hosts
from vms.workflows import failover as workflow
from vms.workflows import recover

pytestmark = pytest.mark.django_db
Work = Callable[[], list[Operation]]


def fail(world: World, host: MemoryHost) -> Host:
    """The host is off, and seems so; its agent does not know."""
    goes_silent(host)
    Cluster.objects.update(failover="eager")
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


def test_loose_volumes_are_held_of_the_host_that_sees_them(
    world: World, host: MemoryHost, spare: Host, work: Work
) -> None:
    volume = world.volume()
    failover.begin(fail(world, host))
    assert ended(work(), "host.failover") == ["succeeded"]
    assert ledger.held(world.host.pk, volume.pk) == {}
    assert ledger.held(spare.pk, volume.pk) == volume.wanted


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


def test_a_drain_makes_way_and_does_not_promise_to_go_on(
    world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work
) -> None:
    drain = drain_host(actor=SYSTEM, host=world.host)
    engine.run(drain.pk)
    failover.begin(fail(world, host))
    done = work()
    assert ended(done, "host.failover") == ["succeeded"]
    drain.refresh_from_db()
    assert (drain.state, drain.error["code"]) == ("cancelled", "cancelled")
    assert "not begun again" in drain.error["detail"]
    assert ended(work(), "host.drain") == ["cancelled"]
    world.host.refresh_from_db()
    assert world.host.state == HostState.FAILED


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
    failover.fence(actor=SYSTEM, host=world.host)
    (operation,) = work()
    assert operation.error["code"] == "fencing_failed"
    assert "another machine" in operation.error["detail"]
    assert powers(spare) == {}


class TestAnAgentThatIsNoProof:
    """Nothing starts elsewhere by its word; an administrator's counts."""

    @pytest.fixture(autouse=True)
    def silent(self, world: World, host: MemoryHost, spare: Host) -> None:
        FenceAgent.objects.update(standing="unknown", standing_of="")

    def fenced(self, world: World, work: Work) -> dict[str, Any]:
        failover.fence(actor=SYSTEM, host=world.host)
        operation = work()[-1]
        assert (operation.state, operation.error["code"]) == ("failed", "fencing_failed")
        return dict(operation.error)

    def confirmed(self, world: World, work: Work) -> list[str]:
        failover.confirm_off(actor=SYSTEM, host=world.host, typed="one")
        return ended(work(), "host.failover")[-1:]

    @pytest.mark.parametrize("power", ["on", "off"])
    def test_one_that_was_never_tested_while_the_host_answered(
        self, world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work, power: str
    ) -> None:
        """It was set when the host was silent already."""
        agent.power = power
        fail(world, host)
        assert "has not said yet" in self.fenced(world, work)["detail"]
        assert set(agent.calls) == {"action=status"}, "it may be another machine's"
        assert powers(spare) == {}
        agent.power = "off"
        assert self.confirmed(world, work) == ["succeeded"]

    def test_one_that_is_known_to_be_wrong(
        self, world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work
    ) -> None:
        agent.power = "off"
        suspicion.go_round()
        failover.begin(fail(world, host))
        (operation,) = work()
        assert (operation.state, operation.error["code"]) == ("failed", "fencing_failed")
        assert "another machine" in operation.error["detail"]
        assert powers(spare) == {}

    def test_a_program_that_has_changed_since(
        self, world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work
    ) -> None:
        """A shell ends with 2, which means off, where it cannot read its script."""
        suspicion.go_round()
        (agent.directory / "fence_test").write_text("#!/bin/sh\nif then (\n")
        fail(world, host)
        assert "has not said yet" in self.fenced(world, work)["detail"]
        assert powers(spare) == {}

    def test_one_that_cannot_be_started(
        self, world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work
    ) -> None:
        (agent.directory / "fence_test").write_text("#!/nonexistent/python3\n")
        fail(world, host)
        assert "could not be run" in self.fenced(world, work)["detail"]
        assert self.confirmed(world, work) == ["succeeded"]

    def test_it_is_one_from_the_moment_of_the_fence_where_the_host_still_answers(
        self, world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Somebody sets it and fences at once. The host is silent as soon as its power is cut."""
        cut_power = fencing.cut_power

        def cut(agent: FenceAgent) -> None:
            cut_power(agent)
            goes_silent(host)

        monkeypatch.setattr(fencing, "cut_power", cut)
        failover.fence(actor=SYSTEM, host=world.host)
        assert ended(work(), "host.failover") == ["succeeded"]
        assert len(powers(spare)) == len(world.machines)


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


def after_fence(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    monkeypatch.setattr(
        engine, "step_hook", lambda moment, step: act() if (moment, step) == ("before", "mark") else None
    )


@pytest.mark.parametrize("answer", [None, errors.Invalid("it does not know that call")])
def test_one_that_answers_again_is_left_alone(
    world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work, answer: errors.DriverError | None
) -> None:
    """Nobody has asked to cut its power, and a refusal is an answer."""
    fail(world, host)
    host.faults.clear()
    if answer is not None:
        host.fail_next("list_domains", answer)
    failover.begin(world.host)
    (operation,) = work()
    assert (operation.state, operation.error["code"]) == ("failed", "host_answers")
    assert agent.calls == []
    world.host.refresh_from_db()
    assert world.host.state == HostState.ENABLED


def test_one_of_which_the_power_is_on_is_not_cut(
    world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work
) -> None:
    """Its management cable was pulled, say, when its agent could not be asked; it can now."""
    fail(world, host)
    Cluster.objects.update(failover="automatic")
    failover.begin(world.host)
    (operation,) = work()
    assert (operation.state, operation.error["code"]) == ("failed", "fencing_failed")
    assert set(agent.calls) == {"action=status"}
    failover.fence(actor=SYSTEM, host=world.host)
    assert ended(work(), "host.failover") == ["failed", "succeeded"], "somebody asked for it"


class TestTheProofIsGone:
    """Between the fence and what follows from it."""

    def test_the_way_by_hand_is_open_again(
        self, world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        after_fence(monkeypatch, lambda: agent.fail("BROKEN"))
        failover.begin(fail(world, host))
        (operation,) = work()
        assert (operation.state, operation.error["code"]) == ("failed", "fencing_failed")
        assert powers(spare) == {}
        monkeypatch.setattr(engine, "step_hook", None)
        failover.confirm_off(actor=SYSTEM, host=world.host, typed="one")
        assert ended(work(), "host.failover") == ["failed", "succeeded"]

    def test_the_host_came_back(
        self, world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        after_fence(monkeypatch, host.faults.clear)
        failover.begin(fail(world, host))
        (operation,) = work()
        assert (operation.state, operation.error["code"]) == ("failed", "host_answers")
        assert powers(spare) == {}


def test_once_it_is_out_of_service_no_cancel_is_heeded(
    world: World, host: MemoryHost, spare: Host, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be told as cancelled, and its machines would start elsewhere all the same."""
    fail(world, host)
    failover.begin(world.host)
    operation = Operation.objects.unscoped("test").get(kind="host.failover")

    def cancel(moment: str, step: str) -> None:
        if (moment, step) == ("after", "mark"):
            operations.cancel(actor=SYSTEM, operation=operation)

    monkeypatch.setattr(engine, "step_hook", cancel)
    assert ended(work(), "host.failover") == ["succeeded"]


def test_a_cancel_before_that_leaves_it_in_service(
    world: World, host: MemoryHost, spare: Host, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(world, host)
    failover.begin(world.host)
    operation = Operation.objects.unscoped("test").get(kind="host.failover")
    after_fence(monkeypatch, lambda: operations.cancel(actor=SYSTEM, operation=operation))
    assert ended(work(), "host.failover") == ["cancelled"]
    world.host.refresh_from_db()
    assert (world.host.state, powers(spare)) == (HostState.ENABLED, {})


def test_no_machine_is_locked_under_the_hosts_account(world: World, host: MemoryHost, spare: Host) -> None:
    """Everybody else locks a machine first. What it took down is told once, however often that is looked at."""
    failover.begin(fail(world, host))
    operation = Operation.objects.unscoped("test").get(kind="host.failover")
    with CaptureQueriesContext(connection) as first:
        workflow._take_out_of_service(operation, "it is off")
    assert not [query["sql"] for query in first if "vms_vm" in query["sql"]]
    with CaptureQueriesContext(connection) as second:
        workflow._note_what_it_took_down(operation)
    assert not [query["sql"] for query in second if "quotas_account" in query["sql"]]
    told = Event.objects.unscoped("test").filter(kind="vm.host-failed")
    count = told.count()
    workflow._note_what_it_took_down(operation)
    assert told.count() == count > 0


class TestMakingWay:
    @pytest.mark.parametrize("by", ["fence", "confirm_off", "begin"])
    @pytest.mark.parametrize("is_stuck", [False, True])
    def test_whoever_asks(
        self, world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work, by: str, is_stuck: bool
    ) -> None:
        check = preflight(actor=SYSTEM, host=fail(world, host))
        if is_stuck:
            Operation.objects.unscoped("test").filter(pk=check.pk).update(state="stuck")
        if by == "fence":
            failover.fence(actor=SYSTEM, host=world.host)
        elif by == "begin":
            failover.begin(world.host)
        else:
            agent.power = "off"
            failover.confirm_off(actor=SYSTEM, host=world.host, typed="one")
        done = work()
        assert ended(done, "host.failover") == ["succeeded"]
        assert next(each.state for each in done if each.pk == check.pk) in ("cancelled", "failed")

    def test_not_another_failover(self, world: World, host: MemoryHost, spare: Host) -> None:
        failover.begin(fail(world, host))
        with pytest.raises(Conflict, match="under way"):
            failover.fence(actor=SYSTEM, host=world.host)

    def test_what_is_stuck_on_its_machines_is_undone(
        self, world: World, host: MemoryHost, spare: Host, work: Work
    ) -> None:
        web = world.machines["web"]
        stuck = change_power(actor=SYSTEM, vm=web, action=Action.STOP)
        Operation.objects.unscoped("test").filter(pk=stuck.pk).update(state="stuck")
        failover.begin(fail(world, host))
        work()
        stuck.refresh_from_db()
        assert stuck.state == "failed"
        failover.recover_waiting()
        work()
        assert fresh(web).host_id == spare.pk


def test_one_that_raises_keeps_no_other_down(
    world: World, host: MemoryHost, spare: Host, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    web, placed = world.machines["web"], recover._placed

    def raises(vm: VM, *args: Any) -> Host:
        if vm.pk == web.pk:
            raise ValueError("its tuning cannot be read")
        return placed(vm, *args)

    monkeypatch.setattr(recover, "_placed", raises)
    failover.begin(fail(world, host))
    work()
    assert powers(spare).keys() == {vm.pk for vm in world.machines.values()} - {web.pk}


def test_one_host_that_raises_keeps_no_other_down(
    world: World, host: MemoryHost, spare: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_host("a-first", state=HostState.FAILED)
    Host.objects.filter(pk=world.host.pk).update(state=HostState.FAILED)
    seen: list[str] = []

    def raises(host: Host) -> int:
        seen.append(host.name)
        raise ValueError(host.name)

    monkeypatch.setattr(recover, "recover_all", raises)
    failover.recover_waiting()
    assert seen == ["a-first", "one"]


def beside(world: World, host: MemoryHost, spare: Host, name: str) -> Host:
    """One more host that sees the same files."""
    found = make_host(name, uri=f"memory://{uuid4()}")
    StoragePool.objects.filter(host=found).update(storage_id="one")
    there = memory.host(found.uri)
    there.volumes, there.contents, there.unfinished = host.volumes, host.contents, host.unfinished
    driver_for(found).ensure_pool("berth", Path(found.pool_path))
    driver_for(found).ensure_network("berth", [world.host.network_cidr])
    return found


class TestNotThereEither:
    """The host that was chosen cannot bring a machine up."""

    @pytest.fixture
    def third(self, world: World, host: MemoryHost, spare: Host) -> Host:
        return beside(world, host, spare, "third")

    @pytest.fixture
    def broken(self, world: World, host: MemoryHost, spare: Host, third: Host, work: Work) -> Host:
        """It is the only one that takes machines at first, and refuses every definition."""
        Host.objects.filter(pk=third.pk).update(state=HostState.CORDONED)
        for _ in range(100):
            memory.host(spare.uri).fail_next("define", errors.Invalid("its mount is away"))
        failover.begin(fail(world, host))
        done = work()
        assert set(ended(done, "vm.recover")) == {"failed"}
        Host.objects.filter(pk=third.pk).update(state=HostState.ENABLED)
        return spare

    def is_seen(self, host: Host) -> None:
        """The observer reads a host that knows none of the machines."""
        now = timezone.now()
        Host.objects.filter(pk=host.pk).update(seen_at=now)
        observed.take_reading(host, Reading(at=now, states=[], leases=[]))

    def test_it_is_not_told_as_done(self, world: World, broken: Host) -> None:
        (step,) = OperationStep.objects.filter(operation__kind="host.failover", name="machines")
        assert (step.output["moved"], sorted(step.output["failed"])) == (
            0,
            sorted(vm.name for vm in world.machines.values()),
        )
        told = Event.objects.unscoped("test").get(kind="host.failed-over")
        assert "could not be brought up" in told.data["detail"]

    def test_another_one_brings_it_up(self, world: World, broken: Host, third: Host, work: Work) -> None:
        self.is_seen(broken)
        failover.recover_waiting()
        work()
        assert powers(third) == {vm.pk: vm.desired_power for vm in world.machines.values()}
        assert ledger.used(broken.pk) == {}
        assert {fresh(vm).host_id for vm in world.machines.values()} == {third.pk}

    def test_not_before_that_host_says_that_it_does_not_know_it(
        self, world: World, broken: Host, third: Host, work: Work
    ) -> None:
        VM.objects.unscoped("test").update(is_missing=False)
        failover.recover_waiting()
        Host.objects.filter(pk=broken.pk).update(seen_at=None)
        VM.objects.unscoped("test").update(is_missing=True, observed_since=timezone.now())
        failover.recover_waiting()
        work()
        assert powers(third) == {}

    def test_so_many_tries(
        self, world: World, host: MemoryHost, broken: Host, third: Host, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recover, "TRIES", 1)
        self.is_seen(broken)
        failover.recover_waiting()
        work()
        assert powers(third) == {}


class TestElsewhere:
    """One rule for the card, the page and the recovery."""

    def test_hosts_of_another_cluster_are_none(self, world: World, host: MemoryHost, spare: Host) -> None:
        web = fresh(world.machines["web"])
        assert storage.elsewhere_of([web]) == {web.pk: {spare.pk}}
        Host.objects.filter(pk=spare.pk).update(cluster=world.cluster("other"))
        assert storage.elsewhere_of([web]) == {web.pk: frozenset()}
        assert one_stranded(web).is_local
        assert "its host alone" in of_vm(web).on_host_failure

    def test_one_that_reaches_some_of_its_pools_is_none(self, world: World, host: MemoryHost, spare: Host) -> None:
        """Each pool has another host, and no host has both."""
        other, pool = beside(world, host, spare, "third"), world.pool("fast")
        StoragePool.objects.filter(pk=pool.pk).update(storage_id="two")
        StoragePool.objects.create(
            host=other, name=pool.name, path=pool.path, storage_id="two", storage_class=pool.storage_class
        )
        StoragePool.objects.filter(host=other, name="berth").update(storage_id="another")
        web = world.machines["web"]
        data = world.volume(vm=web)
        Layer.objects.filter(pk=data.layer_id).update(pool=pool)
        web = fresh(web)
        assert storage.elsewhere_of([web]) == {web.pk: frozenset()}
        assert one_stranded(web).is_local

    def test_as_many_queries_for_one_as_for_all(
        self, world: World, host: MemoryHost, spare: Host, django_assert_num_queries: Any
    ) -> None:
        vms = [fresh(vm) for vm in world.machines.values()]
        for some in (vms[:1], vms):
            with django_assert_num_queries(6):
                storage.elsewhere_of(some)


class TestByHand:
    @pytest.mark.parametrize("how", ["BROKEN", "off"])
    def test_somebody_vouches(
        self, world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work, how: str
    ) -> None:
        """Whether the agent says so too, or can say nothing."""
        agent.power = "off"
        if how == "BROKEN":
            agent.fail(how)
        failover.confirm_off(actor=SYSTEM, host=fail(world, host), typed="one")
        assert ended(work(), "host.failover") == ["succeeded"]
        assert set(agent.calls) == {"action=status"}
        assert len(powers(spare)) == len(world.machines)
        told = Event.objects.unscoped("test").get(kind="host.confirmed-off")
        assert (told.actor, told.data["detail"]) == ("system", "system typed one")

    def test_not_against_its_agent(self, world: World, host: MemoryHost, spare: Host, agent: Agent, work: Work) -> None:
        failover.confirm_off(actor=SYSTEM, host=fail(world, host), typed="one")
        (operation,) = work()
        assert (operation.state, operation.error["code"]) == ("failed", "fencing_failed")
        assert "says that it is on" in operation.error["detail"]
        assert set(agent.calls) == {"action=status"}
        assert powers(spare) == {}

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


def test_a_cordoned_host_is_no_lack_of_room(world: World, host: MemoryHost, spare: Host, work: Work) -> None:
    Host.objects.filter(pk=spare.pk).update(state=HostState.CORDONED)
    failover.begin(fail(world, host))
    work()
    told = Event.objects.unscoped("test").get(kind="host.failed-over")
    assert "wait for room" not in told.data["detail"]
    assert told.data["detail"].endswith(f"; {len(world.machines)} stay off, for none of the others takes machines")
    Host.objects.filter(pk=spare.pk).update(state=HostState.ENABLED)
    failover.recover_waiting()
    work()
    assert len(powers(spare)) == len(world.machines)


def test_what_no_other_host_takes_is_told_before_and_after(
    world: World, host: MemoryHost, spare: Host, work: Work
) -> None:
    """Room is not what it waits for; and it is kept like any refused placement, once however often it is tried."""
    web = world.machines["web"]
    picky = Flavor.objects.create(slug="picky", name="P", vcpus=1, memory_mib=128, disk_gib=1, host_labels=["gpu"])
    VM.objects.unscoped("test").filter(pk=web.pk).update(flavor=picky)
    Host.objects.filter(pk=world.host.pk).update(labels=["gpu"])
    lacking = "has what its size asks for (gpu)"
    assert f"none of the others {lacking}, so it is off until" in of_vm(fresh(web)).on_host_failure
    assert of_hosts([world.host])[web.pk].obstacles == ("spare: It lacks the labels gpu.",)
    failover.begin(fail(world, host))
    work()
    failover.recover_waiting()
    failover.recover_waiting()
    assert fresh(web).host_id == world.host.pk
    refusal = Placement.objects.get(holder_id=web.pk, host_name="")
    assert (refusal.title, refusal.refused["labels"]) == ("acme/web", {"gpu": ["spare"]})
    told = Event.objects.unscoped("test").get(kind="host.failed-over")
    assert "wait for room" not in told.data["detail"]
    assert told.data["detail"].endswith(f"; 1 stay off, for none of the others {lacking}")
    assert one_stranded(fresh(web)).outlook.words == lacking
    assert lacking in of_vm(fresh(web)).on_host_failure
    Host.objects.filter(pk=spare.pk).update(labels=["gpu"])
    assert one_stranded(fresh(web)).outlook.host == spare
    failover.recover_waiting()
    work()
    assert fresh(web).host_id == spare.pk


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
