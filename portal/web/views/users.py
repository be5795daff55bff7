"""People with an account, as the provider's administrators keep them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.models import ProviderRole
from portal.tenancy import people
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of, text_query
from portal.web.paging import page_of

ROLES = [(value, label if value else "None: only what tenants grant") for value, label in ProviderRole.choices]


class UserForm(forms.Form):
    username = forms.CharField(label="User name", max_length=150)
    email = forms.CharField(label="E-mail", max_length=254, required=False)
    provider_role = forms.ChoiceField(
        label="Rights across tenants", choices=ROLES, required=False, help_text="Tenants give rights by membership."
    )


@require_safe
def provider_users(request: HttpRequest) -> HttpResponse:
    actor, search = actor_of(request), text_query(request, "q")
    page = page_of(request, people.users(actor, search))
    context = {
        "page": page,
        "search": search,
        "roles": ProviderRole.choices,
        "staff_need_second_factor": people.staff_need_second_factor(actor),
        "may_write": actor.can(Permission.USER_WRITE),
    }
    return render(request, "portal/provider_users.html", context)


@require_POST
def provider_sign_in(request: HttpRequest) -> HttpResponse:
    """POST `demanded` (yes or no): whether the staff need a second factor."""
    with refusals_as_notice(request):
        people.demand_of_staff(actor=actor_of(request), demanded=request.POST.get("demanded") == "yes")
        messages.success(request, "Changed. It holds from the next request on.")
    return redirect("provider-users")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def provider_user_create(request: HttpRequest) -> HttpResponse:
    """POST answers with the generated password, once."""
    actor = actor_of(request)
    actor.require(Permission.USER_WRITE)
    form = UserForm(request.POST or None)
    context: dict[str, Any] = {"form": form}
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            user, password = people.create_user(actor=actor, **form.cleaned_data)
            context |= {"created": user, "password": password}
    return render(
        request, "portal/provider_user_create.html", context, status=201 if "created" in context else status_of(form)
    )


@require_POST
def provider_user_change(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """POST `provider_role` or `active` (yes or no)."""
    actor = actor_of(request)
    with refusals_as_notice(request):
        if "active" in request.POST:
            user = people.set_active(actor=actor, user_id=user_id, active=request.POST["active"] == "yes")
        else:
            role = request.POST.get("provider_role", "")
            user = people.set_provider_role(actor=actor, user_id=user_id, provider_role=role)
        messages.success(request, f"{user.username} was changed.")
    return redirect("provider-users")
