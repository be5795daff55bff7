"""Office hours: what is switched when, and what is left as it is."""

from __future__ import annotations

from datetime import datetime, time

import pytest

from portal.events.models import Event
from portal.operations.models import Operation
from portal.operations.states import State
from portal.tenancy.gate import SYSTEM
from portal.tenancy.models import Tenant
from tests.scheduling.conftest import at
from tests.world import World
from vms.models import VM, Power, Schedule
from vms.scheduling.turn import turn
from vms.services import schedules
from vms.services.schedules import ScheduleIn

MONDAY = at("2026-05-04 08:00")
EVENING = at("2026-05-04 18:00")


@pytest.fixture
def hours(world: World) -> Schedule:
    """Of `web`, which runs: on workdays from 8 to 18, due on a Monday morning."""
    Operation.objects.unscoped("test").all().delete()
    wanted = ScheduleIn(kind="power", every="workdays", at=time(8), until=time(18))
    made = schedules.create(actor=SYSTEM, vm=world.machines["web"], request=wanted)
    is_due(made, MONDAY)
    return made


def is_due(schedule: Schedule, moment: datetime) -> None:
    Schedule.objects.unscoped("test").filter(pk=schedule.pk).update(due_at=moment, next_at=moment)


def is_now(world: World, power: Power) -> None:
    rows = VM.objects.unscoped("test").filter(pk=world.machines["web"].pk)
    rows.update(observed_power=power, desired_power=power)


def begun() -> list[str]:
    rows = Operation.objects.unscoped("test").order_by("created_at")
    kinds = list(rows.values_list("kind", flat=True))
    rows.update(state=State.SUCCEEDED)
    return kinds


def test_on_in_the_morning_and_off_in_the_evening(world: World, hours: Schedule) -> None:
    is_now(world, Power.STOPPED)
    turn(MONDAY)
    assert begun() == ["vm.start"]
    is_now(world, Power.RUNNING)
    turn(at("2026-05-04 17:59"))
    assert begun() == ["vm.start"]
    turn(EVENING)
    assert begun() == ["vm.start", "vm.stop"]
    assert Schedule.objects.unscoped("test").get().next_at == at("2026-05-05 08:00")


def test_of_what_was_missed_the_last_switch_counts(world: World, hours: Schedule) -> None:
    """The portal was down from Monday morning to Thursday evening."""
    is_now(world, Power.RUNNING)
    turn(at("2026-05-07 21:00"))
    assert begun() == ["vm.stop"]
    (run,) = hours.runs.all()
    assert run.is_late
    assert Schedule.objects.unscoped("test").get().next_at == at("2026-05-08 08:00")


def test_one_that_runs_already_is_left_alone_and_nobody_is_told(world: World, hours: Schedule) -> None:
    is_now(world, Power.RUNNING)
    turn(MONDAY)
    assert begun() == []
    assert [run.outcome for run in hours.runs.all()] == ["skipped"]
    assert not Event.objects.unscoped("test").filter(kind="schedule.skipped").exists()


def test_started_by_hand_outside_the_hours_it_stays_until_the_next_switch(world: World, hours: Schedule) -> None:
    is_now(world, Power.RUNNING)
    is_due(hours, at("2026-05-08 18:00"))
    turn(at("2026-05-08 18:00"))
    is_now(world, Power.RUNNING)
    begun()
    for moment in ("2026-05-08 20:00", "2026-05-09 12:00", "2026-05-11 08:00", "2026-05-11 17:00"):
        turn(at(moment))
    assert begun() == ["vm.stop"]
    turn(at("2026-05-11 18:00"))
    assert begun() == ["vm.stop", "vm.stop"]


def test_a_suspended_tenants_machines_stay_off(world: World, hours: Schedule) -> None:
    is_now(world, Power.STOPPED)
    Tenant.objects.unscoped("test").filter(pk=world.acme.pk).update(suspended_at=MONDAY, stops_machines=True)
    turn(MONDAY)
    assert begun() == []
    assert [run.words for run in hours.runs.all()] == ["Its tenant is suspended."]
