"""A tenant's bin: what was deleted, and the ways out of there."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.operations.selectors import active_on_each
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from portal.web.paging import page_of
from portal.web.tenant import tenant_of
from vms import selectors
from vms.services.delete import purge_vm, restore_vm
from vms.states import Action
from vms.web import presenters
from vms.web.fetch import rows_of, vm_of
from vms.web.forms import RestoreForm


@require_safe
def vm_bin(request: HttpRequest, slug: str) -> HttpResponse:
    return render(request, "vms/bin.html", _context(request, slug))


@require_safe
def vm_bin_rows(request: HttpRequest, slug: str) -> HttpResponse:
    """The part of the page that changes by itself."""
    return render(request, "vms/_bin.html", _context(request, slug))


def _context(request: HttpRequest, slug: str) -> dict[str, Any]:
    actor, tenant = actor_of(request), tenant_of(request, slug, Permission.VM_READ)
    page = page_of(request, rows_of(request, tenant, binned=True))
    active = active_on_each(vm.pk for vm in page.rows)
    rows = [presenters.binned(actor, vm, active.get(vm.pk)) for vm in page.rows]
    return {"tenant": tenant, "page": page, "rows": rows}


@require_http_methods(["GET", "HEAD", "POST"])
def vm_restore(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    """POST without a name takes its own; where that is taken, the page asks for another."""
    vm, operation = vm_of(request, slug, vm_id)
    actor = actor_of(request)
    actor.require(Permission.VM_WRITE, vm.tenant_id)
    form = RestoreForm(request.POST) if request.method == "POST" else RestoreForm(initial={"name": vm.name})
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            restore_vm(actor=actor, vm=vm, name=form.cleaned_data["name"] or None)
            return redirect("vm-detail", slug, vm_id)
    vm.refresh_from_db()
    verdict = selectors.actions(actor, vm, operation)[Action.RESTORE]
    context = {"tenant": vm.tenant, "form": form, "name": vm.name, "verdict": verdict}
    return render(request, "vms/restore.html", context, status=status_of(form))


@require_POST
def vm_purge(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    vm, _ = vm_of(request, slug, vm_id)
    with refusals_as_notice(request):
        purge_vm(actor=actor_of(request), vm=vm)
        messages.success(request, f"{vm.name} is being deleted for good.")
    return redirect("vm-bin", slug)
