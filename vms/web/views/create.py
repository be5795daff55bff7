"""Creating a machine: one page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from hosts import selectors as hosts
from portal.accounts.models import SshKey
from portal.tenancy.credentials import remember_key
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_in, status_of
from portal.web.tenant import tenant_of
from vms import group_selectors
from vms.lease_selectors import terms_of
from vms.services.create import CreateVM, create_vm
from vms.web import create_page, volumes
from vms.web.forms import CreateForm


@require_http_methods(["GET", "HEAD", "POST"])
def vm_create(request: HttpRequest, slug: str) -> HttpResponse:
    actor, tenant = actor_of(request), tenant_of(request, slug, Permission.VM_WRITE)
    form = create_form(request, tenant)
    if form.is_valid():
        with refusals_in(form):
            return redirect(_create(actor, tenant, form.cleaned_data))
    return render(request, "vms/create.html", _context(request, tenant, form), status=status_of(form))


def create_form(request: HttpRequest, tenant: Tenant) -> CreateForm:
    """With what was sent, or what is preselected."""
    actor = actor_of(request)
    assert actor.user is not None
    keys = list(actor.user.ssh_keys.all())
    classes = volumes.class_choices(hosts.storage_classes(actor).filter(is_active=True))
    own = group_selectors.groups(actor, tenant).prefetch_related(None)
    groups = [(group.name, f"{group.name}: {group.get_policy_display().lower()}") for group in own]
    offered: dict[str, Any] = {"keys": keys, "classes": classes, "groups": groups, "terms": terms_of(tenant.pk)}
    if request.method == "POST":
        return CreateForm(request.POST, **offered)
    return CreateForm(**offered, initial=_initial(request, actor, tenant, keys))


def asked_for(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Of what the form says that which the use case takes as it is."""
    names = ("name", "image", "flavor", "user_data", "protected", "storage_class", "groups", "expires_at")
    return {name: wanted[name] for name in names}


def _initial(request: HttpRequest, actor: Actor, tenant: Tenant, keys: list[SshKey]) -> dict[str, Any]:
    given = {name: request.GET.get(name, "").replace("\x00", "")[:63] for name in ("name", "image", "flavor")}
    return create_page.initial(actor, tenant, keys, given)


def _context(request: HttpRequest, tenant: Tenant, form: CreateForm) -> dict[str, Any]:
    chosen = {name: str(form[name].value() or "") for name in ("name", "image", "flavor")}
    page = create_page.page(actor_of(request), tenant, chosen)
    url = request.build_absolute_uri("/api/v1/vms")
    curl = create_page.curl(url, tenant, page, chosen["name"], form["ssh_keys"].value() or [])
    return {"tenant": tenant, "form": form, "create": page, "curl": curl, "api_url": url}


@transaction.atomic
def _create(actor: Actor, tenant: Tenant, wanted: dict[str, Any]) -> str:
    """The new machine's address. A key pasted with it is remembered along with it, or not at all."""
    keys = list(wanted["ssh_keys"])
    if wanted["new_key"]:
        keys.append(str(remember_key(actor=actor, public_key=wanted["new_key"], field="new_key").pk))
    vm, _ = create_vm(actor=actor, request=CreateVM(tenant=tenant.slug, ssh_keys=keys, **asked_for(wanted)))
    return reverse("vm-detail", args=[tenant.slug, vm.pk])
