"""Moving a machine to another host: where it can go, and what is in the way elsewhere. For the provider's staff."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_in, status_of
from vms import selectors
from vms.migration import Precheck, precheck
from vms.services.migrate import migrate_vm
from vms.states import Action
from vms.web.fetch import vm_of

ANY = ""


class MigrateForm(forms.Form):
    host = forms.ChoiceField(label="To", required=False)

    def __init__(self, found: Precheck, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["host"].choices = [  # type: ignore[attr-defined]
            (ANY, "The one that placement chooses"),
            *((target.host.name, _words(target.host.name, target.copied_gib)) for target in found.possible),
        ]


def _words(name: str, copied_gib: int) -> str:
    return f"{name}: copies the data of {copied_gib} GiB of disks" if copied_gib else f"{name}: sees the same storage"


@require_http_methods(["GET", "HEAD", "POST"])
def vm_migrate(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    actor = actor_of(request)
    vm, operation = vm_of(request, slug, vm_id)
    actor.require(Permission.HOST_WRITE)
    found = precheck(vm)
    form = MigrateForm(found, request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            begun = migrate_vm(actor=actor, vm=vm, host=form.cleaned_data["host"] or None)
            return redirect("operation-detail", begun.pk)
    context = {
        "tenant": vm.tenant,
        "name": vm.name,
        "vm_id": vm.pk,
        "host": vm.host.name,
        "precheck": found,
        "form": form,
        "verdict": selectors.actions(actor, vm, operation)[Action.MIGRATE],
    }
    return render(request, "vms/migrate.html", context, status=status_of(form))
