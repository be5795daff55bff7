"""Backups: of one machine, of a tenant, and what is done with one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.core.errors import Invalid, NotFound
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from portal.web.paging import page_of
from portal.web.tenant import tenant_of
from vms import backup_selectors, selectors
from vms.backup_states import BackupAction
from vms.models import Backup
from vms.services import backups as services
from vms.states import Action
from vms.web import backups as present
from vms.web.fetch import vm_of
from vms.web.views.detail import context_of


class BackUpForm(forms.Form):
    target = forms.ChoiceField(label="Where to")
    full = forms.BooleanField(
        label="All of it again",
        required=False,
        help_text="Otherwise only what changed since the last backup there, where that is known.",
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        targets = [(target.slug, target.name) for target in backup_selectors.targets()]
        self.fields["target"].choices = targets  # type: ignore[attr-defined]


class RestoreForm(forms.Form):
    """`where` is "new" or "same"; a new machine needs a name, the same one its own name typed again."""

    where = forms.ChoiceField(choices=[("new", "new"), ("same", "same")])
    name = forms.CharField(
        label="Name of the new machine",
        max_length=63,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
        help_text="Lower-case letters, digits and hyphens. It is the hostname inside, too.",
    )
    confirmation = forms.CharField(max_length=63, required=False)
    safety = forms.BooleanField(
        label="Keep what it is now as a snapshot",
        required=False,
        initial=True,
        help_text="It counts in the quota. Without it, all that was written since is lost.",
    )


@require_safe
def backup_list(request: HttpRequest, slug: str) -> HttpResponse:
    tenant, actor = tenant_of(request, slug), actor_of(request)
    page = page_of(request, backup_selectors.backups(actor, tenant=tenant))
    rows = present.rows(actor, page.rows, backup_selectors.busy_with(page.rows))
    context = {"tenant": tenant, "page": page, "backups": rows, "has_target": backup_selectors.targets().exists()}
    return render(request, "vms/backups.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def vm_backups(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    """A machine's backups; POST makes another one."""
    vm, operation = vm_of(request, slug, vm_id)
    actor = actor_of(request)
    form = BackUpForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.back_up(actor=actor, vm=vm, **form.cleaned_data)
            messages.success(request, "It is being backed up.")
            return redirect("vm-backups", slug, vm_id)
    page = page_of(request, backup_selectors.backups(actor, tenant=vm.tenant, source_id=vm.pk))
    context = {
        **context_of(request, vm, operation, "vm-backups"),
        "page": page,
        "backups": present.rows(actor, page.rows, backup_selectors.busy_with(page.rows), "?next=vm"),
        "form": form,
        "has_target": backup_selectors.targets().exists(),
        "can_back_up": selectors.actions(actor, vm, operation)[Action.BACK_UP],
    }
    return render(request, "vms/vm_backups.html", context, status=status_of(form))


@require_http_methods(["GET", "HEAD", "POST"])
def backup_restore(request: HttpRequest, slug: str, backup_id: UUID) -> HttpResponse:
    """To a new machine, or in place of what the machine has now."""
    backup = _backup_of(request, slug, backup_id)
    actor = actor_of(request)
    actor.require(Permission.VM_WRITE, backup.tenant_id)
    form = RestoreForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            return _restored(request, actor, backup, form.cleaned_data)
    operation = backup_selectors.busy_with([backup]).get(backup.pk)
    verdicts = backup_selectors.actions(actor, backup, backup_selectors.facts_of(backup, operation))
    context = {
        "tenant": backup.tenant,
        "backup": present.row(actor, backup, operation),
        "form": form,
        "can_restore": verdicts[BackupAction.RESTORE],
        "can_restore_as_new": verdicts[BackupAction.RESTORE_AS_NEW],
    }
    return render(request, "vms/backup_restore.html", context, status=status_of(form))


def _restored(request: HttpRequest, actor: Actor, backup: Backup, wanted: dict[str, Any]) -> HttpResponse:
    if wanted["where"] == "new":
        if not wanted["name"]:
            raise Invalid("Give the new machine a name.", field="name")
        vm, _ = services.restore_as_new(actor=actor, backup=backup, name=wanted["name"])
        messages.success(request, "It is being made from the backup.")
        return redirect("vm-detail", backup.tenant.slug, vm.pk)
    if wanted["confirmation"] != backup.vm_name:
        raise Invalid("This is not its name; nothing was restored.", field="confirmation")
    vm, _ = services.restore(actor=actor, backup=backup, safety=wanted["safety"])
    messages.success(request, "It is being restored.")
    return redirect("vm-detail", backup.tenant.slug, vm.pk)


@require_POST
def backup_verify(request: HttpRequest, slug: str, backup_id: UUID) -> HttpResponse:
    backup = _backup_of(request, slug, backup_id)
    with refusals_as_notice(request):
        services.verify(actor=actor_of(request), backup=backup)
        messages.info(request, "Every file of it is being read.")
    return redirect(_back(request, backup))


@require_POST
def backup_delete(request: HttpRequest, slug: str, backup_id: UUID) -> HttpResponse:
    backup = _backup_of(request, slug, backup_id)
    with refusals_as_notice(request):
        services.delete(actor=actor_of(request), backup=backup)
        messages.success(request, "The backup is being deleted.")
    return redirect(_back(request, backup))


def _backup_of(request: HttpRequest, slug: str, backup_id: UUID) -> Backup:
    """NotFound at another tenant's address."""
    tenant = tenant_of(request, slug)
    backup = backup_selectors.backup(actor_of(request), backup_id)
    if backup.tenant_id != tenant.pk:
        raise NotFound("There is no such backup.")
    return backup


def _back(request: HttpRequest, backup: Backup) -> str:
    if request.GET.get("next") == "vm" and backup.vm_id:
        return reverse("vm-backups", args=[backup.tenant.slug, backup.vm_id])
    return reverse("backup-list", args=[backup.tenant.slug])
