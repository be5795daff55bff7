"""Snapshots, backups and office hours by the clock."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.references import tenant_in
from portal.api.serializers import Boolean, Choice, Id, Input, Integer, Text
from portal.api.views import ApiView
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import selectors
from vms.api.serializers import VerdictOut
from vms.models import Outcome, Schedule, ScheduleKind
from vms.retention import MOST
from vms.rhythm import Every
from vms.services import schedules
from vms.services.look import look_at
from vms.services.schedules import COUNTS, WEEKDAYS, ScheduleIn


class Clock(serializers.TimeField):
    """A time of day as 24 hours show it."""

    _SHAPE = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)

    def to_internal_value(self, value: Any) -> Any:
        if not isinstance(value, str) or not self._SHAPE.fullmatch(value):
            self.fail("invalid", format="03:00")
        return super().to_internal_value(value)


class KeepIn(Input):
    def get_fields(self) -> dict[str, Any]:
        words = {"last": "The last ones.", **{name: f"The last one of each {_PERIODS[name]}." for name in _PERIODS}}
        return {name: Integer(required=False, max_value=MOST, help_text=words[name]) for name in COUNTS}


_PERIODS = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month"}


class ScheduleChange(Input):
    every = Choice([str(each) for each in Every], required=False)
    at = Clock(required=False, help_text="As the zone's clocks show it; an hourly one goes by its minutes.")
    until = Clock(required=False, help_text="Of `power`: when it is switched off; before `at`, on the day after.")
    zone = Text(max_length=64, required=False, help_text='A time zone such as "Europe/Berlin".')
    weekday = Choice(WEEKDAYS, required=False, allow_null=True, help_text="Of a weekly one.")
    keep = KeepIn(required=False, help_text="How many are kept; at least one, and none of `power`.")
    target = Text(max_length=63, required=False, allow_null=True, help_text="Where backups go, if not to the default.")
    active = Boolean(required=False)


class ScheduleNew(ScheduleChange):
    kind = Choice([str(kind) for kind in ScheduleKind], help_text="`power`: on at `at`, off at `until`.")
    every = Choice([str(each) for each in Every])
    at = Clock(help_text="As the zone's clocks show it; an hourly one goes by its minutes.")


class ScheduleFilter(Input):
    tenant = Text(required=False, help_text="Slug or id.")
    vm = Id(required=False)


class RunOut(serializers.Serializer[Any]):
    """One time that it was due."""

    due_at = serializers.DateTimeField()
    at = serializers.DateTimeField(help_text="When it was begun, or given up.")
    late = serializers.BooleanField(source="is_late", help_text="It was missed, and made up for.")
    outcome = serializers.ChoiceField(choices=[str(outcome) for outcome in Outcome])
    detail = serializers.CharField(source="words", help_text="Why not; empty where it went well.")
    operation = serializers.UUIDField(source="operation_id", allow_null=True)
    made = serializers.UUIDField(allow_null=True, help_text="The snapshot or backup; it may be gone by now.")


class ScheduleActionsOut(serializers.Serializer[Any]):
    """What you may do with it now, and why not."""

    def get_fields(self) -> dict[str, Any]:
        return {name: VerdictOut() for name in ("change", "remove")}


class KeepOut(serializers.Serializer[Any]):
    def get_fields(self) -> dict[str, Any]:
        return {name: serializers.IntegerField(source=f"keep_{name}") for name in COUNTS}


class ScheduleOut(serializers.Serializer[Any]):
    """Snapshots, backups or office hours by the clock."""

    # Context: `actor`, and `runs`: the latest of each, by id of schedule.
    id = serializers.UUIDField()
    vm = serializers.UUIDField(source="vm_id")
    tenant = serializers.CharField(source="tenant.slug")
    kind = serializers.ChoiceField(choices=[str(kind) for kind in ScheduleKind])
    every = serializers.ChoiceField(choices=[str(each) for each in Every])
    at = serializers.TimeField(format="%H:%M")
    until = serializers.TimeField(format="%H:%M", allow_null=True)
    zone = serializers.CharField()
    weekday = serializers.SerializerMethodField()
    keep = KeepOut(source="*")
    target = serializers.UUIDField(allow_null=True)
    active = serializers.BooleanField(source="is_active")
    next_at = serializers.SerializerMethodField(help_text="Null where it is not active.")
    last = serializers.SerializerMethodField(help_text="What became of the last time, or null.")
    actions = serializers.SerializerMethodField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()

    def get_weekday(self, schedule: Schedule) -> str | None:
        return None if schedule.weekday is None else WEEKDAYS[schedule.weekday]

    def get_next_at(self, schedule: Schedule) -> str | None:
        return schedule.next_at.isoformat() if schedule.is_active else None

    @extend_schema_field(RunOut(allow_null=True))
    def get_last(self, schedule: Schedule) -> dict[str, Any] | None:
        run = self.context["runs"].get(schedule.pk)
        return dict(RunOut(run).data) if run else None

    @extend_schema_field(ScheduleActionsOut)
    def get_actions(self, schedule: Schedule) -> dict[str, dict[str, Any]]:
        verdict = selectors.may_schedule(self.context["actor"], schedule.tenant_id)
        shown = {"allowed": verdict.allowed, "reason": verdict.reason}
        return {"change": shown, "remove": shown}


def schedule_data(actor: Actor, schedule: Schedule) -> dict[str, Any]:
    context = {"actor": actor, "runs": selectors.last_runs([schedule.pk])}
    return dict(ScheduleOut(schedule, context=context).data)


class ScheduleList(ApiView):
    permissions = {"GET": Permission.VM_READ}

    @extend_schema(parameters=[ScheduleFilter], responses=ScheduleOut(many=True))
    def get(self, request: Request) -> Response:
        """Schedules of your machines, newest first."""
        wanted = self.query(ScheduleFilter)
        tenant = tenant_in(self.actor, wanted.get("tenant"), Permission.VM_READ)
        page = self.page(selectors.schedules(self.actor, tenant=tenant, vm_id=wanted.get("vm")))
        context = {"actor": self.actor, "runs": selectors.last_runs([schedule.pk for schedule in page])}
        return self.listed(ScheduleOut(page, many=True, context=context).data)


class VMSchedules(ApiView):
    permissions = {"GET": Permission.VM_READ, "POST": Permission.VM_WRITE}

    @extend_schema(responses=ScheduleOut(many=True))
    def get(self, request: Request, id: UUID) -> Response:
        """The schedules of a machine, newest first."""
        vm = look_at(self.actor, id)
        self.query()
        page = self.page(selectors.schedules(self.actor, vm_id=vm.pk))
        context = {"actor": self.actor, "runs": selectors.last_runs([schedule.pk for schedule in page])}
        return self.listed(ScheduleOut(page, many=True, context=context).data)

    @extend_schema(request=ScheduleNew, responses={201: ScheduleOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Snapshots, backups or office hours of it by the clock. Its counts delete only what it made itself."""
        vm = selectors.vm(self.actor, id, Permission.VM_WRITE)
        wanted = _as_request(self.body(ScheduleNew))
        schedule = schedules.create(actor=self.actor, vm=vm, request=ScheduleIn(**wanted))
        return self.created(schedule_data(self.actor, schedule), f"/api/v1/schedules/{schedule.pk}")


class ScheduleDetail(ApiView):
    permissions = {"GET": Permission.VM_READ, "PATCH": Permission.VM_WRITE, "DELETE": Permission.VM_WRITE}

    @extend_schema(responses=ScheduleOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One schedule."""
        return Response(schedule_data(self.actor, selectors.schedule(self.actor, id)))

    @extend_schema(request=ScheduleChange, responses=ScheduleOut)
    def patch(self, request: Request, id: UUID) -> Response:
        """Change it in part. Counts that are left out of `keep` are 0 from then on."""
        schedule = selectors.schedule(self.actor, id, Permission.VM_WRITE)
        wanted = schedules.as_request(schedule, **_as_request(self.body(ScheduleChange)))
        return Response(
            schedule_data(self.actor, schedules.change(actor=self.actor, schedule=schedule, request=wanted))
        )

    @extend_schema(responses={204: None})
    def delete(self, request: Request, id: UUID) -> Response:
        """Remove it. What it has made stays, and nothing deletes that by itself any more."""
        schedule = selectors.schedule(self.actor, id, Permission.VM_WRITE)
        schedules.remove(actor=self.actor, schedule=schedule)
        return Response(status=204)


class ScheduleRuns(ApiView):
    permissions = {"GET": Permission.VM_READ}

    @extend_schema(responses=RunOut(many=True))
    def get(self, request: Request, id: UUID) -> Response:
        """What became of its last times, newest first."""
        schedule = selectors.schedule(self.actor, id)
        self.query()
        return Response({"results": RunOut(schedule.runs.all()[:50], many=True).data, "next": None})


def _as_request(body: dict[str, Any]) -> dict[str, Any]:
    if body.get("weekday") is not None:
        body["weekday"] = WEEKDAYS.index(body["weekday"])
    return body
