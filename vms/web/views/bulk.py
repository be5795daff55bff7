"""One action on many machines, with a result for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from portal.operations.selectors import active_on_each
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.tenant import tenant_of
from vms import selectors
from vms.models import VM
from vms.services.bulk import Outcome, act_on_each
from vms.states import Action
from vms.web.bin import bin_words
from vms.web.forms import BulkForm

RESULT = "bulk_result"
_DONE = {Action.START: "starting", Action.STOP: "stopping", Action.DELETE: "being deleted"}


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
    actor, action = actor_of(request), Action(form.cleaned_data["action"])
    chosen = list(selectors.vms(actor, tenant=tenant).filter(pk__in=form.cleaned_data["vm"]))
    if not chosen:
        messages.error(request, "None of these machines is there any more.")
        return redirect("vm-list", tenant.slug)
    if action is Action.DELETE and form.cleaned_data["confirmation"] != str(len(chosen)):
        return _ask(request, tenant, chosen)
    return _told(
        request, tenant, action, chosen, act_on_each(actor=actor, action=action, vm_ids=[vm.pk for vm in chosen])
    )


def _ask(request: HttpRequest, tenant: Tenant, chosen: Sequence[VM]) -> HttpResponse:
    """Only what can be deleted now is counted and sent again; the others stand beside it with the reason."""
    active = active_on_each(vm.pk for vm in chosen)
    verdicts = {vm: selectors.actions(actor_of(request), vm, active.get(vm.pk))[Action.DELETE] for vm in chosen}
    context = {
        "tenant": tenant,
        "vms": [vm for vm in chosen if verdicts[vm].allowed],
        "kept": [(vm, verdicts[vm].reason) for vm in chosen if not verdicts[vm].allowed],
        "asked_again": "confirmation" in request.POST,
        "bin_words": bin_words(),
    }
    return render(request, "vms/bulk_delete.html", context)


def _told(
    request: HttpRequest, tenant: Tenant, action: Action, chosen: Sequence[VM], outcomes: Sequence[Outcome]
) -> HttpResponse:
    """A notice where all were accepted, else a page with each machine's result."""
    names = {vm.pk: vm.name for vm in chosen}
    accepted = [names[outcome.vm_id] for outcome in outcomes if outcome.refusal is None]
    if len(accepted) == len(outcomes):
        count = len(accepted)
        messages.success(request, f"{count} {'VM is' if count == 1 else 'VMs are'} {_DONE[action]}.")
        return redirect("vm-list", tenant.slug)
    request.session[RESULT] = {
        "action": action,
        "done_word": _DONE[action],
        "accepted": accepted,
        "refused": _reasons(names, [outcome for outcome in outcomes if not outcome.is_already]),
        "unchanged": _reasons(names, [outcome for outcome in outcomes if outcome.is_already]),
    }
    return redirect("vm-bulk", tenant.slug)


def _reasons(names: dict[Any, str], outcomes: Sequence[Outcome]) -> list[dict[str, str]]:
    return [
        {"name": names[outcome.vm_id], "reason": outcome.refusal.detail}
        for outcome in outcomes
        if outcome.refusal is not None
    ]
