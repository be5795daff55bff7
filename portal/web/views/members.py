"""Who belongs to a tenant."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from portal.tenancy import selectors, services
from portal.tenancy.roles import Permission, Role
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from portal.web.paging import page_of
from portal.web.tenant import tenant_of


class MemberForm(forms.Form):
    username = forms.CharField(label="User name", max_length=150, help_text="Somebody who has an account here.")
    role = forms.ChoiceField(choices=[(role.value, role.value.capitalize()) for role in Role], initial=Role.MEMBER)


@require_http_methods(["GET", "HEAD", "POST"])
def member_list(request: HttpRequest, slug: str) -> HttpResponse:
    """POST adds somebody, or changes their role."""
    actor, tenant = actor_of(request), tenant_of(request, slug, Permission.MEMBER_READ)
    form = MemberForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.set_member(actor=actor, tenant=tenant, **form.cleaned_data)
            messages.success(request, f"{form.cleaned_data['username']} is {form.cleaned_data['role']} now.")
            return redirect("member-list", slug)
    page = page_of(request, selectors.members(actor, tenant))
    may = actor.can(Permission.MEMBER_WRITE, tenant.pk)
    why_not = "" if may else actor.why_not(Permission.MEMBER_WRITE, tenant.pk)
    context = {"tenant": tenant, "page": page, "form": form, "may_write": may, "why_not": why_not, "roles": list(Role)}
    return render(request, "portal/members.html", context, status=status_of(form))


@require_POST
def member_remove(request: HttpRequest, slug: str, membership_id: UUID) -> HttpResponse:
    actor, tenant = actor_of(request), tenant_of(request, slug)
    with refusals_as_notice(request):
        services.remove_member(actor=actor, tenant=tenant, membership_id=membership_id)
        messages.success(request, "Removed. Their rights here have ended.")
    return redirect("member-list", slug)
