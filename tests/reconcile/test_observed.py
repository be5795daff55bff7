"""What a host says of its machines: shown whatever the clocks do, and told once where nobody asked for it here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hosts.connections import driver_for
from hosts.driver import errors
from hosts.driver.memory import MemoryHost
from hosts.driver.types import PowerState, Reason
from hosts.observe import Reading
from portal.events import log
from portal.events.models import Event
from portal.operations.models import Operation
from portal.web.presenters import event as words
from tests.audit.mirror import put
from tests.reconcile.conftest import fresh
from tests.world import World
from vms import observed
from vms.models import VM

pytestmark = pytest.mark.django_db(transaction=True)
Turn = Callable[[], list[str]]
Work = Callable[[], list[Operation]]


def poll(world: World) -> None:
    observed.take_reading(world.host, Reading(timezone.now(), driver_for(world.host).list_domains(), []))


def seen_before_the_clock_was_set_back(vm: VM) -> None:
    VM.objects.unscoped("test").filter(pk=vm.pk).update(observed_since=timezone.now() + timedelta(hours=1))


def changes(vm: VM) -> list[tuple[str, str]]:
    """From what to what its power changed, as the log has it, oldest first."""
    rows = Event.objects.unscoped("test").filter(kind="vm.power-changed", target_id=vm.pk).order_by("id")
    return [(event.data["before"]["power"], event.data["after"]["power"]) for event in rows]


def crash(host: MemoryHost, vm: VM) -> None:
    host.domains[vm.pk] = (host.domains[vm.pk][0], PowerState.CRASHED)
    host.reasons[vm.pk] = Reason.CRASHED


def test_a_clock_that_is_set_back_freezes_nothing(world: World, host: MemoryHost) -> None:
    web = world.machines["web"]
    seen_before_the_clock_was_set_back(web)
    driver_for(world.host).destroy(web.pk)
    poll(world)
    assert fresh(web).status == "stopped"


def test_what_is_older_than_what_is_known_changes_nothing(world: World, host: MemoryHost) -> None:
    web = world.machines["web"]
    observed.note(web.pk, PowerState.STOPPED, timezone.now() - timedelta(minutes=1))
    observed.note(web.pk, None, timezone.now() - timedelta(minutes=1))
    assert fresh(web).status == "running"
    assert changes(web) == []


def test_a_guest_is_obeyed_though_the_clock_was_set_back(
    world: World, host: MemoryHost, turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = world.machines["web"]
    driver_for(world.host).shutdown(web.pk)
    turn()
    seen_before_the_clock_was_set_back(web)
    turn()
    since = fresh(web).observed_since
    assert since is not None
    assert since <= timezone.now()
    assert len(changes(web)) == 1, "it changed once"
    VM.objects.unscoped("test").filter(pk=web.pk).update(observed_since=since - timedelta(seconds=90))
    turn()
    assert fresh(web).desired_power == "stopped"


def test_recovery_ends_though_the_clock_was_set_back(world: World, host: MemoryHost, turn: Turn, work: Work) -> None:
    web = world.machines["web"]
    VM.objects.unscoped("test").exclude(pk=web.pk).update(desired_power="stopped")
    host.lose_power()
    turn()
    seen_before_the_clock_was_set_back(web)
    for _ in range(8):
        host.fail_next("start", errors.NoMemory("full"))
        turn()
        work()
        ahead = timezone.now() + timedelta(hours=1)
        Operation.objects.unscoped("test").update(created_at=ahead, finished_at=ahead)
    assert Operation.objects.unscoped("test").filter(target_id=web.pk).count() == 3
    assert turn() == ["stopped_outside"]


def test_a_crash_is_told_once(world: World, host: MemoryHost, turn: Turn) -> None:
    web = world.machines["web"]
    crash(host, web)
    turn(), turn(), turn()
    assert changes(web) == [("running", "stopped")]
    event = Event.objects.unscoped("test").get(kind="vm.power-changed")
    assert (event.tenant, event.actor, event.source, event.target_name) == (world.acme, "system", "system", "web")
    row = next(iter(words.rows([event])))
    assert (row.words, row.detail) == ("changed its power, not by Berth", "power running → stopped")


def test_what_goes_and_comes_back_is_told_each_time(world: World, host: MemoryHost) -> None:
    web, domain = world.machines["web"], host.domains[world.machines["web"].pk]
    del host.domains[web.pk]
    poll(world)
    host.domains[web.pk] = domain
    poll(world), poll(world)
    assert changes(web) == [("running", "missing"), ("missing", "running")]


def test_what_an_operation_did_is_not_told_as_somebody_elses(world: World, host: MemoryHost) -> None:
    web = world.machines["web"]
    world.operation(web)
    crash(host, web)
    poll(world)
    assert fresh(web).status == "stopped"
    assert changes(web) == []


def test_it_is_told_in_the_transaction_that_writes_it(
    world: World, host: MemoryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = world.machines["web"]
    crash(host, web)
    with monkeypatch.context() as patched:
        patched.setattr(log, "record_all", lambda *told, **more: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            poll(world)
    assert fresh(web).status == "running"
    poll(world)
    assert (fresh(web).status, changes(web)) == ("stopped", [("running", "stopped")])


def test_a_host_that_goes_down_takes_as_many_queries_as_a_machine(world: World, host: MemoryHost) -> None:
    for number in range(5):
        put(world.vm(f"more-{number}"), world.host)
    crash(host, world.machines["web"])
    with CaptureQueriesContext(connection) as one:
        poll(world)
    host.domains = {
        id: (spec, PowerState.CRASHED if power is PowerState.RUNNING else power)
        for id, (spec, power) in host.domains.items()
    }
    with CaptureQueriesContext(connection) as many:
        poll(world)
    assert Event.objects.unscoped("test").filter(kind="vm.power-changed").count() >= 7
    assert len(many) == len(one)
