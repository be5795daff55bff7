"""A tenant at a glance."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from portal.events import selectors as events
from portal.quotas import selectors as quotas
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.presenters import event as event_rows
from portal.web.presenters.meter import meters
from portal.web.tenant import tenant_of
from vms import failover_selectors, selectors
from vms.web import failover
from vms.web.presenters import LOOKS

RECENT = 8
FEW_VMS = 3


@dataclass(frozen=True)
class StatusCount:
    word: str
    look: str
    count: int
    url: str


@dataclass(frozen=True)
class FirstStep:
    label: str
    words: str
    url: str
    is_done: bool


@require_safe
def overview(request: HttpRequest, slug: str) -> HttpResponse:
    actor, tenant = actor_of(request), tenant_of(request, slug)
    counts = selectors.status_counts(actor, tenant)
    down = failover_selectors.down_in(actor, tenant) if actor.can(Permission.VM_READ, tenant.pk) else None
    recent = list(events.events(actor, events.Filter(tenant=tenant))[:RECENT])
    context = {
        "tenant": tenant,
        "down": failover.down(down, slug) if down else None,
        "meters": meters(quotas.usage(actor, tenant)),
        "counts": _status_counts(counts, slug),
        "total": sum(counts.values()),
        "create_url": reverse("vm-create", args=[slug]),
        "events": event_rows.rows(recent, for_provider=actor.is_provider),
        "steps": _first_steps(actor, tenant, sum(counts.values())),
        "may_create": actor.can(Permission.VM_WRITE, tenant.pk),
        "why_not": actor.why_not(Permission.VM_WRITE, tenant.pk),
    }
    return render(request, "portal/overview.html", context)


def _status_counts(counts: dict[str, int], slug: str) -> list[StatusCount]:
    url = reverse("vm-list", args=[slug])
    return [
        StatusCount(word, LOOKS[word], counts[word], f"{url}?status={word}")
        for word in selectors.STATUSES
        if word in counts
    ]


def _first_steps(actor: Actor, tenant: Tenant, vms: int) -> list[FirstStep]:
    """What a newcomer does first; empty once all is done, and for those who may not do it."""
    if actor.user is None or vms > FEW_VMS or not actor.can(Permission.VM_WRITE, tenant.pk):
        return []
    listing, create = reverse("vm-list", args=[tenant.slug]), reverse("vm-create", args=[tenant.slug])
    wanted = events.Filter(tenant=tenant, actor=actor.label, kind="vm.console-opened")
    opened = events.events(actor, wanted).exists()
    steps = [
        FirstStep(
            "Add an SSH key", "It lets you log in to every machine you create.", reverse("ssh-keys"), _key(actor)
        ),
        FirstStep("Create a VM", "Two clicks, and it is running within seconds.", create, bool(vms) or opened),
        FirstStep("Open its console", "Screen and keyboard in the browser, without any network.", listing, opened),
    ]
    return [] if all(step.is_done for step in steps) else steps


def _key(actor: Actor) -> bool:
    return actor.user is not None and actor.user.ssh_keys.exists()
