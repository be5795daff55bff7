"""A machine's disks and snapshots."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from vms.web.fetch import vm_of
from vms.web.views.detail import context_of


@require_safe
def vm_disks(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    vm, operation = vm_of(request, slug, vm_id)
    return render(request, "vms/disks.html", context_of(request, vm, operation, "vm-disks"))
