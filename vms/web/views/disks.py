"""A machine's disks and snapshots."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from portal.operations.models import Operation
from portal.web.actor import actor_of
from portal.web.forms import refusals_in, status_of
from vms import selectors, volume_selectors
from vms.models import VM
from vms.services import volumes as services
from vms.states import Action
from vms.web import volumes as presenters
from vms.web.fetch import vm_of
from vms.web.views.detail import context_of
from vms.web.views.snapshots import snapshots_of
from vms.web.volume_forms import AttachHereForm

MOST_FREE = 100


@require_http_methods(["GET", "HEAD", "POST"])
def vm_disks(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    """POST `volume`: attach it."""
    vm, operation = vm_of(request, slug, vm_id)
    form = AttachHereForm(request.POST or None, volumes=_free(request, vm))
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            actor = actor_of(request)
            volume = volume_selectors.volume(actor, form.cleaned_data["volume"])
            services.attach(actor=actor, volume=volume, vm=str(vm.pk))
            messages.success(request, f"{volume.name} is being attached.")
            return redirect("vm-disks", slug, vm_id)
        vm, operation = vm_of(request, slug, vm_id)
    halves = disks_of(request, vm, operation) | snapshots_of(request, vm, operation)
    context = context_of(request, vm, operation, "vm-disks") | halves | {"form": form}
    return render(request, "vms/disks.html", context, status=status_of(form))


@require_safe
def vm_disk_rows(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    """The table of disks, which changes by itself."""
    vm, operation = vm_of(request, slug, vm_id)
    return render(request, "vms/_disks.html", disks_of(request, vm, operation))


def disks_of(request: HttpRequest, vm: VM, operation: Operation | None) -> dict[str, Any]:
    """What the half about disks shows."""
    actor, own = actor_of(request), [vm.tenant.slug, vm.pk]
    return {
        "disks": presenters.rows(actor, volume_selectors.of_machine(actor, vm), vm.tenant.slug),
        "disks_topic": f"vm:{vm.pk}",
        "disks_url": reverse("vm-disk-rows", args=own),
        "can_attach": selectors.actions(actor, vm, operation)[Action.ATTACH_VOLUME],
        "add_url": f"{reverse('volume-create', args=own[:1])}?vm={vm.pk}",
    }


def _free(request: HttpRequest, vm: VM) -> list[tuple[str, str]]:
    """Volumes that could be attached to it."""
    rows = volume_selectors.volumes(actor_of(request), tenant=vm.tenant, attached=False)
    found = rows.filter(layer__pool__host=vm.host)[:MOST_FREE]
    return [(str(volume.pk), f"{volume.name} ({volume.size_gib} GiB)") for volume in found]
