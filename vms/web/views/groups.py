"""The tenant's affinity groups: one page."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from portal.core.errors import NotFound
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from portal.web.paging import Page, page_of
from portal.web.tenant import tenant_of
from vms import group_selectors, selectors
from vms.models import AffinityGroup, GroupPolicy
from vms.services import groups as services

MOST_MACHINES = 200  # in a select; others are added by the API


class GroupForm(forms.Form):
    name = forms.CharField(max_length=63, help_text="Lower-case letters, digits and hyphens.")
    policy = forms.ChoiceField(label="Its machines are kept", choices=GroupPolicy.choices)


@dataclass(frozen=True)
class Member:
    id: UUID
    name: str
    url: str


@dataclass(frozen=True)
class GroupCard:
    """`others` are machines that could be added: id and name."""

    id: UUID
    name: str
    policy: str
    members: list[Member]
    others: list[tuple[UUID, str]]
    change_url: str


@require_http_methods(["GET", "HEAD", "POST"])
def group_list(request: HttpRequest, slug: str) -> HttpResponse:
    """POST makes a group."""
    actor, tenant = actor_of(request), tenant_of(request, slug, Permission.VM_READ)
    form = GroupForm(request.POST or None)
    if request.method == "POST":
        actor.require(Permission.VM_WRITE, tenant.pk)
        if form.is_valid():
            with refusals_in(form):
                services.create_group(actor=actor, tenant=tenant, **form.cleaned_data)
                return redirect("group-list", slug)
    page = page_of(request, group_selectors.groups(actor, tenant))
    machines = list(selectors.vms(actor, tenant=tenant).values_list("pk", "name")[:MOST_MACHINES])
    context = {
        "tenant": tenant,
        "page": page,
        "form": form,
        "groups": _cards(page, machines, slug),
        "may_write": actor.can(Permission.VM_WRITE, tenant.pk),
        "why_not": actor.why_not(Permission.VM_WRITE, tenant.pk),
    }
    return render(request, "vms/groups.html", context, status=status_of(form))


@require_POST
def group_change(request: HttpRequest, slug: str, group_id: UUID) -> HttpResponse:
    """POST `add` or `remove` with the id of a machine, or `delete`."""
    actor, tenant = actor_of(request), tenant_of(request, slug, Permission.VM_READ)
    group = group_selectors.group(actor, group_id, Permission.VM_WRITE)
    if group.tenant_id != tenant.pk:
        raise NotFound("There is no such group.")
    with refusals_as_notice(request):
        if "delete" in request.POST:
            services.delete_group(actor=actor, group=group)
            messages.success(request, "The group is gone; its machines stay where they are.")
        elif "remove" in request.POST:
            vm = selectors.vm(actor, request.POST["remove"], Permission.VM_WRITE)
            services.remove_member(actor=actor, group=group, vm=vm)
        else:
            vm = selectors.vm(actor, request.POST.get("add", ""), Permission.VM_WRITE)
            services.add_member(actor=actor, group=group, vm=vm)
    return redirect("group-list", slug)


def _cards(page: Page[AffinityGroup], machines: list[tuple[UUID, str]], slug: str) -> list[GroupCard]:
    found = []
    for group in page.rows:
        own = {vm.pk for vm in group.members.all()}
        found.append(
            GroupCard(
                id=group.pk,
                name=group.name,
                policy=group.get_policy_display(),
                members=[
                    Member(vm.pk, vm.name, reverse("vm-detail", args=[slug, vm.pk])) for vm in group.members.all()
                ],
                others=[machine for machine in machines if machine[0] not in own],
                change_url=reverse("group-change", args=[slug, group.pk]),
            )
        )
    return found
