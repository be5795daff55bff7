"""What a form would come to, asked for while it is filled in. Nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.tenant import tenant_of
from vms.planning import services
from vms.web import plans
from vms.web.fetch import vm_of
from vms.web.forms import CloneForm, ResizeForm
from vms.web.views.create import asked_for, create_form


class _EndForm(forms.Form):
    """Of deleting what changes what comes of it; the confirmation does not."""

    purge = forms.BooleanField(required=False)


_FORMS: Mapping[str, Callable[[Any], forms.Form]] = {"resize": ResizeForm, "clone": CloneForm, "delete": _EndForm}


@require_POST
def vm_create_plan(request: HttpRequest, slug: str) -> HttpResponse:
    tenant = tenant_of(request, slug, Permission.VM_WRITE)
    form = create_form(request, tenant)
    if not form.is_valid():
        return _incomplete(request)
    keys = [*form.cleaned_data["ssh_keys"], *filter(None, [form.cleaned_data["new_key"]])]
    body = {**asked_for(form.cleaned_data), "tenant": tenant.slug, "ssh_keys": keys}
    return _shown(request, "vm.create", "", body)


@require_POST
def vm_plan(request: HttpRequest, slug: str, vm_id: UUID) -> HttpResponse:
    """`intent` is that of the form on the machine's settings."""
    vm_of(request, slug, vm_id)
    intent = request.POST.get("intent", "")
    form = _FORMS.get(intent, forms.Form)(request.POST)
    if intent not in _FORMS or not form.is_valid():
        return _incomplete(request)
    return _shown(request, f"vm.{intent}", str(vm_id), form.cleaned_data)


def _shown(request: HttpRequest, action: str, target: str, body: Mapping[str, Any]) -> HttpResponse:
    draft = services.draft(actor=actor_of(request), action=action, target=target, body=body)
    return render(request, "vms/_plan.html", {"plan": plans.card(draft), "tenant": draft.tenant})


def _incomplete(request: HttpRequest) -> HttpResponse:
    """What is missing is said at the fields when the form is sent."""
    return render(request, "vms/_plan.html", {"plan": None}, status=422)
