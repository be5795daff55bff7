"""One action on many machines, with a result for each."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from portal.core.errors import DomainError
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.tenant import tenant_of
from vms import selectors
from vms.models import VM
from vms.services import delete, power
from vms.states import Action
from vms.web.forms import BulkForm

RESULT = "bulk_result"
_DONE = {"start": "starting", "stop": "stopping", "delete": "being deleted"}


@dataclass(frozen=True)
class Outcome:
    """What became of one machine: `reason` is "" where the action was accepted."""

    name: str
    reason: str


@require_http_methods(["GET", "HEAD", "POST"])
def vm_bulk(request: HttpRequest, slug: str) -> HttpResponse:
    """POST acts, or asks first where that deletes; GET shows what became of the last one."""
    tenant = tenant_of(request, slug, Permission.VM_READ)
    if request.method != "POST":
        return render(request, "vms/bulk_result.html", {"tenant": tenant, **request.session.get(RESULT, {})})
    actor_of(request).require(Permission.VM_WRITE, tenant.pk)
    form = BulkForm(request.POST)
    if not form.is_valid():
        messages.error(request, form.complaint)
        return redirect("vm-list", slug)
    return _act_or_ask(request, tenant, form)


def _act_or_ask(request: HttpRequest, tenant: Tenant, form: BulkForm) -> HttpResponse:
    actor, action = actor_of(request), form.cleaned_data["action"]
    chosen = list(selectors.vms(actor, tenant=tenant).filter(pk__in=form.cleaned_data["vm"]))
    if action == "delete" and form.cleaned_data["confirmation"] != str(len(chosen)):
        context = {"tenant": tenant, "vms": chosen, "asked_again": "confirmation" in request.POST}
        return render(request, "vms/bulk_delete.html", context)
    outcomes = [_try(actor, vm, action) for vm in chosen]
    refused = [asdict(outcome) for outcome in outcomes if outcome.reason]
    done = [outcome.name for outcome in outcomes if not outcome.reason]
    if refused:
        request.session[RESULT] = {"action": action, "done_word": _DONE[action], "done": done, "refused": refused}
        return redirect("vm-bulk", tenant.slug)
    messages.success(request, f"{len(done)} {'VM is' if len(done) == 1 else 'VMs are'} {_DONE[action]}.")
    return redirect("vm-list", tenant.slug)


def _try(actor: Actor, vm: VM, action: str) -> Outcome:
    try:
        if action == "delete":
            delete.delete_vm(actor=actor, vm=vm)
        else:
            power.change_power(actor=actor, vm=vm, action=Action(action))
    except DomainError as error:
        return Outcome(vm.name, error.detail)
    return Outcome(vm.name, "")
