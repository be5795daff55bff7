"""Graphs of machines, and what sizes promise."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from hosts import selectors as hosts
from hosts.web.graphs import of_machine, span_of
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.tenant import tenant_of
from vms import guarantee, selectors
from vms.promise_words import ON_HOST_FAILURE_OF_SIZE
from vms.web import presenters
from vms.web.fetch import vm_of
from vms.web.guarantee import card, shared
from vms.web.views.detail import context_of


@require_safe
def vm_metrics(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    vm, operation = vm_of(request, slug, vm_id)
    data_url = reverse("vm-metrics-data", args=[slug, vm_id])
    context = {**context_of(request, vm, operation, "vm-metrics"), "graphs": of_machine(data_url)}
    return render(request, "vms/metrics.html", context)


@require_safe
def vm_metrics_data(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    """JSON: what hosts.metrics.series says, of the `span`."""
    vm, _ = vm_of(request, slug, vm_id)
    return JsonResponse(selectors.used_by(vm, span_of(request)))


@require_safe
def size_list(request: HttpRequest, slug: str) -> HttpResponse:
    """The sizes that can be chosen, each with its guarantee card."""
    actor, tenant = actor_of(request), tenant_of(request, slug)
    actor.require(Permission.VM_READ, tenant.pk)
    flavors = list(selectors.flavors())
    cards = guarantee.of_flavors(flavors, hosts.open_to([tenant.pk]))
    sizes = [(presenters.flavor(flavor), card(found)) for flavor, found in zip(flavors, cards, strict=True)]
    context = {
        "tenant": tenant,
        "sizes": sizes,
        "shared": shared(cards[0].over_commit) if cards else (),
        "on_host_failure": ON_HOST_FAILURE_OF_SIZE,
    }
    return render(request, "vms/sizes.html", context)
