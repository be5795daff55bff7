"""A machine's schedules."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from portal.core.errors import NotFound
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from vms import backup_selectors, selectors
from vms.models import VM, Schedule, ScheduleKind
from vms.services import schedules
from vms.services.schedules import COUNTS, ScheduleIn
from vms.web.fetch import vm_of
from vms.web.schedules import ScheduleForm, row
from vms.web.views.detail import context_of


@require_http_methods(["GET", "HEAD", "POST"])
def vm_schedules(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    """POST makes a new one."""
    vm, operation = vm_of(request, slug, vm_id)
    targets = list(backup_selectors.targets())
    form = ScheduleForm(request.POST if request.method == "POST" else None, targets=targets)
    if form.is_bound:
        actor_of(request).require(Permission.VM_WRITE, vm.tenant_id)
    if form.is_bound and form.is_valid():
        with refusals_in(form):
            schedules.create(actor=actor_of(request), vm=vm, request=_asked(form.cleaned_data))
            messages.success(request, "It is set up.")
            return redirect("vm-schedules", slug, vm_id)
    context = context_of(request, vm, operation, "vm-schedules") | _context(request, vm, form)
    return render(request, "vms/schedules.html", context, status=status_of(form))


@require_POST
def vm_schedule_change(request: HttpRequest, slug: str, vm_id: UUID, schedule_id: UUID) -> HttpResponse:
    """`intent` is pause, resume or remove."""
    vm, _ = vm_of(request, slug, vm_id)
    schedule = _of(request, vm, schedule_id)
    with refusals_as_notice(request):
        _INTENTS.get(request.POST.get("intent", ""), _nothing)(request, schedule)
    return redirect("vm-schedules", slug, vm_id)


def _context(request: HttpRequest, vm: VM, form: ScheduleForm) -> dict[str, Any]:
    actor = actor_of(request)
    found = list(selectors.schedules(actor, vm_id=vm.pk))
    runs = selectors.last_runs([schedule.pk for schedule in found])
    return {
        "rows": [row(schedule, runs.get(schedule.pk)) for schedule in found],
        "form": form,
        "can_write": selectors.may_schedule(actor, vm.tenant_id),
    }


def _asked(wanted: dict[str, Any]) -> ScheduleIn:
    return ScheduleIn(
        kind=wanted["kind"],
        every=wanted["every"],
        at=wanted["at"],
        until=wanted["until"],
        zone=wanted["zone"],
        weekday=int(wanted["weekday"]) if wanted["weekday"] else None,
        keep={} if wanted["kind"] == ScheduleKind.POWER else {name: wanted[f"keep_{name}"] or 0 for name in COUNTS},
        target=wanted["target"] or None,
    )


def _of(request: HttpRequest, vm: VM, schedule_id: UUID) -> Schedule:
    schedule = selectors.schedule(actor_of(request), schedule_id, Permission.VM_WRITE)
    if schedule.vm_id != vm.pk:
        raise NotFound("There is no such schedule.")
    return schedule


def _set_active(request: HttpRequest, schedule: Schedule, active: bool) -> None:
    asked = schedules.as_request(schedule, active=active)
    schedules.change(actor=actor_of(request), schedule=schedule, request=asked)


def _pause(request: HttpRequest, schedule: Schedule) -> None:
    _set_active(request, schedule, active=False)


def _resume(request: HttpRequest, schedule: Schedule) -> None:
    _set_active(request, schedule, active=True)


def _remove(request: HttpRequest, schedule: Schedule) -> None:
    schedules.remove(actor=actor_of(request), schedule=schedule)
    messages.success(request, "It is removed. What it has made stays, and nothing deletes that by itself.")


def _nothing(request: HttpRequest, schedule: Schedule) -> None:
    return None


_INTENTS = {"pause": _pause, "resume": _resume, "remove": _remove}
