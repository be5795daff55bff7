"""Schedules: made, changed and removed by whoever may write to the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import time
from typing import Any

from django.db import transaction
from django.utils import timezone

from portal.core.errors import Conflict, Invalid, NotFound
from portal.events import live, log
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms.models import VM, Schedule, ScheduleKind
from vms.retention import MOST
from vms.rhythm import Every, zones
from vms.scheduling import makers

COUNTS = ("last", "hourly", "daily", "weekly", "monthly")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MOST_OF_A_VM = 20


@dataclass(frozen=True)
class ScheduleIn:
    """A schedule as it is to be. `keep` has counts by `COUNTS`; of what it leaves out none are kept for its sake.

    `until` is when power is switched off again, for schedules of that alone.
    """

    kind: str
    every: str
    at: time
    zone: str = "UTC"
    until: time | None = None
    weekday: int | None = None
    keep: Mapping[str, int] = field(default_factory=dict)
    target: str | None = None
    active: bool = True


@transaction.atomic
def create(*, actor: Actor, vm: VM, request: ScheduleIn) -> Schedule:
    """Raises Invalid at the field, Forbidden, or Conflict where the machine has many or is about to go."""
    actor.require(Permission.VM_WRITE, vm.tenant_id)
    vm = _locked(vm)
    if vm.schedules.count() >= MOST_OF_A_VM:
        raise Conflict(f"A machine has {MOST_OF_A_VM} schedules at most.", code="too_many")
    schedule = Schedule(tenant=vm.tenant, vm=vm, created_by=actor.label)
    _set(actor, schedule, request)
    schedule.save(force_insert=True)
    log.record("schedule.created", actor=actor, target=schedule, after=_told(schedule))
    live.tell(vm.tenant_id, f"schedules:{vm.pk}")
    return schedule


@transaction.atomic
def change(*, actor: Actor, schedule: Schedule, request: ScheduleIn) -> Schedule:
    """Its next time is counted anew; what it made so far is kept by its new counts."""
    actor.require(Permission.VM_WRITE, schedule.tenant_id)
    _refresh(schedule)
    if request.kind != schedule.kind:
        raise Invalid("Its kind stays; make another schedule.", field="kind")
    before = _told(schedule)
    _set(actor, schedule, request)
    schedule.needs_pruning = True
    schedule.save()
    log.record("schedule.changed", actor=actor, target=schedule, before=before, after=_told(schedule))
    live.tell(schedule.tenant_id, f"schedules:{schedule.vm_id}")
    return schedule


@transaction.atomic
def remove(*, actor: Actor, schedule: Schedule) -> None:
    """What it has made stays, and is nobody's but the tenant's to delete from now on."""
    actor.require(Permission.VM_WRITE, schedule.tenant_id)
    _refresh(schedule)
    log.record("schedule.removed", actor=actor, target=schedule, before=_told(schedule))
    live.tell(schedule.tenant_id, f"schedules:{schedule.vm_id}")
    schedule.delete()


def as_request(schedule: Schedule, **changes: Any) -> ScheduleIn:
    """As it is now, but for these."""
    now = ScheduleIn(
        kind=schedule.kind,
        every=schedule.every,
        at=schedule.at,
        until=schedule.until,
        zone=schedule.zone,
        weekday=schedule.weekday,
        keep={name: getattr(schedule, f"keep_{name}") for name in COUNTS},
        target=str(schedule.target) if schedule.target else None,
        active=schedule.is_active,
    )
    return replace(now, **changes)


def _set(actor: Actor, schedule: Schedule, request: ScheduleIn) -> None:
    _check(request)
    maker = makers.maker_of(request.kind)
    schedule.kind = request.kind
    schedule.every, schedule.at, schedule.zone = request.every, request.at, request.zone
    schedule.weekday, schedule.until = request.weekday, request.until
    for name in COUNTS:
        setattr(schedule, f"keep_{name}", request.keep.get(name, 0))
    if maker.needs_target and request.target != str(schedule.target):
        schedule.target = maker.target(actor, schedule.tenant, request.target or None)
    schedule.is_active = request.active
    schedule.due_at = schedule.next_at = schedule.following(timezone.now())


def _check(request: ScheduleIn) -> None:
    if request.kind not in makers.kinds():
        raise Invalid(f"Use one of: {', '.join(makers.kinds())}.", field="kind")
    if request.every not in list(Every):
        raise Invalid(f"Use one of: {', '.join(Every)}.", field="every")
    if request.zone not in zones():
        raise Invalid("There is no such time zone; use one like Europe/Berlin, or UTC.", code="unknown", field="zone")
    if (request.weekday is not None) != (request.every == Every.WEEK):
        words = "Say on which day of the week." if request.every == Every.WEEK else "Only a weekly one has a weekday."
        raise Invalid(words, field="weekday")
    if request.weekday is not None and not 0 <= request.weekday <= 6:
        raise Invalid("Use 0 (Monday) to 6 (Sunday).", field="weekday")
    _check_hours(request)
    _check_counts(request)
    _check_target(request)


def _check_hours(request: ScheduleIn) -> None:
    if request.kind != ScheduleKind.POWER:
        if request.until is not None:
            raise Invalid("Only office hours have an end.", field="until")
        return
    if request.every == Every.HOUR:
        raise Invalid("Office hours are daily, on workdays or weekly.", field="every")
    if request.until is None:
        raise Invalid("Say when it is switched off.", code="required", field="until")
    if request.until == request.at:
        raise Invalid("It would be switched off when it is switched on.", field="until")


def _check_counts(request: ScheduleIn) -> None:
    keep = request.keep
    if not makers.maker_of(request.kind).keeps:
        if any(keep.values()):
            raise Invalid("Nothing is made that could be kept.", field="keep")
        return
    if not all(0 <= keep.get(name, 0) <= MOST for name in COUNTS):
        raise Invalid(f"Keep 0 to {MOST} of each.", field="keep")
    if not any(keep.get(name, 0) for name in COUNTS):
        raise Invalid("Say how many are kept; at least one.", code="keeps_nothing", field="keep")


def _check_target(request: ScheduleIn) -> None:
    if request.target and not makers.maker_of(request.kind).needs_target:
        raise Invalid("Only backups go somewhere; leave this out.", field="target")


def _locked(vm: VM) -> VM:
    found = VM.objects.unscoped("fetched through the gate").select_for_update(of=("self",)).filter(pk=vm.pk).first()
    if found is None:
        raise NotFound("This machine is gone.")
    if found.status == "deleting":
        words = "It is in the bin; restore it first." if found.is_binned else "It is being deleted."
        raise Conflict(words, code="wrong_state", extra={"status": found.status})
    return found


def _refresh(schedule: Schedule) -> None:
    rows = Schedule.objects.unscoped("fetched through the gate").select_for_update(of=("self",))
    try:
        schedule.refresh_from_db(from_queryset=rows)
    except Schedule.DoesNotExist:
        raise NotFound("This schedule is gone.") from None


def _told(schedule: Schedule) -> dict[str, Any]:
    """For the log."""
    kept = {f"keep {name}": count for name in COUNTS if (count := getattr(schedule, f"keep_{name}"))}
    times = {"every": schedule.every, "at": f"{schedule.at:%H:%M}", "zone": schedule.zone}
    if schedule.until is not None:
        times["until"] = f"{schedule.until:%H:%M}"
    day = {} if schedule.weekday is None else {"weekday": WEEKDAYS[schedule.weekday]}
    return {**times, **day, **kept, "active": schedule.is_active}
