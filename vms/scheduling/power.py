"""Office hours: power by the clock. Only a switch is done; what somebody does between two switches stays."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from portal.core.errors import Conflict
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from vms import office_hours
from vms.models import Schedule, ScheduleKind
from vms.scheduling.makers import ALREADY, Maker, register
from vms.services import guard, power
from vms.states import Action, is_already


def switch(actor: Actor, schedule: Schedule, now: datetime) -> tuple[None, Operation]:
    """As the last switch says; those before that were missed matter no more."""
    vm, hours = schedule.vm, schedule.hours
    assert hours is not None
    action = Action.START if office_hours.latest(hours, now).on else Action.STOP
    guard.refresh(vm)
    if is_already(action, vm.status):
        raise Conflict(f"It is {vm.status} already.", code=ALREADY)
    if action is Action.START and vm.tenant.stops_machines:
        raise Conflict("Its tenant is suspended.", code="wrong_state")
    return None, power.change_power(actor=actor, vm=vm, action=action)


def nothing_to_delete(actor: Actor, id: UUID) -> Operation:
    raise Conflict("Office hours make nothing.", code="wrong_state")


def none_whole(ids: Collection[UUID]) -> set[UUID]:
    return set()


register(ScheduleKind.POWER, Maker(switch, nothing_to_delete, none_whole, keeps=False))
