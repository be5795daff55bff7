"""Emptying hosts: the plan is shown before anything is begun. For the provider's staff."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from hosts import selectors as hosts
from portal.operations.services import active_on
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_in, status_of
from vms.maintenance import reading
from vms.maintenance.drain import AT_ONCE, MOST_AT_ONCE, drain_host
from vms.maintenance.plan import Move, Plan, Way
from vms.maintenance.roll import roll_cluster
from vms.states import ALLOWED, Verdict

_WAYS: Mapping[Way, str] = {
    Way.LIVE: "while it runs",
    Way.COPY: "while it runs, with {} GiB of disks",
    Way.COLD: "off, as it is",
}


class DrainForm(forms.Form):
    concurrency = forms.IntegerField(
        label="Machines on their way at once",
        min_value=1,
        max_value=MOST_AT_ONCE,
        initial=AT_ONCE,
        help_text="More is sooner over, and shares the network between hosts among more of them.",
    )


@require_http_methods(["GET", "HEAD", "POST"])
def host_drain(request: HttpRequest, name: str) -> HttpResponse:
    actor = actor_of(request)
    host = hosts.host(actor, name)
    form = DrainForm(request.POST or None)
    if request.method == "POST":
        actor.require(Permission.HOST_WRITE)
        if form.is_valid():
            with refusals_in(form):
                begun = drain_host(actor=actor, host=host, **form.cleaned_data)
                return redirect("operation-detail", begun.pk)
    plan = reading.plan_of(actor, host)
    context = {
        "form": form,
        "host": host,
        "plan": {**_summary(plan), "moves": [_line(move) for move in plan.moves]},
        "loose_volumes": plan.loose_volumes,
        "verdict": _verdict(actor, "host", host),
    }
    return render(request, "hosts/drain.html", context, status=status_of(form))


@require_http_methods(["GET", "HEAD", "POST"])
def cluster_roll(request: HttpRequest, slug: str) -> HttpResponse:
    actor = actor_of(request)
    cluster = hosts.cluster(actor, slug)
    form = DrainForm(request.POST or None)
    if request.method == "POST":
        actor.require(Permission.HOST_WRITE)
        if form.is_valid():
            with refusals_in(form):
                begun = roll_cluster(actor=actor, cluster=cluster, **form.cleaned_data)
                return redirect("operation-detail", begun.pk)
    plans = [_summary(plan) for plan in reading.rolling_plan(actor, cluster)]
    context = {"form": form, "cluster": cluster, "plans": plans, "verdict": _verdict(actor, "cluster", cluster)}
    return render(request, "hosts/roll.html", context, status=status_of(form))


def _verdict(actor: Actor, kind: str, target: Any) -> Verdict:
    if not actor.can(Permission.HOST_WRITE):
        return Verdict(False, actor.why_not(Permission.HOST_WRITE))
    operation = active_on(kind, target.pk)
    return Verdict(False, f"“{operation.title}” is still under way.") if operation else ALLOWED


def _summary(plan: Plan) -> dict[str, Any]:
    count, staying = len(plan.moves), len(plan.staying)
    if not count:
        words = "No machine is on it."
    elif not staying:
        words = f"{_machines(count)} can go to other hosts."
    else:
        words = f"{count - staying} of {_machines(count)} can go to other hosts; {staying} would stay."
    return {
        "host": plan.host,
        "words": words,
        "is_possible": plan.is_possible,
        "copied_gib": plan.copied_gib,
    }


def _line(move: Move) -> dict[str, Any]:
    return {
        "vm": move.vm,
        "way": _WAYS[move.way].format(move.copied_gib),
        "host": move.target.host.name if move.target else "",
        "obstacles": move.obstacles,
        "help": move.help,
        "waits": move.waits,
    }


def _machines(count: int) -> str:
    return "1 machine" if count == 1 else f"{count} machines"
