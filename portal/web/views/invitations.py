"""What an invitation's link leads to: accepting it, with the account that one has or with a new one."""

from __future__ import annotations

from allauth.account.utils import perform_login
from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from portal.accounts.models import User
from portal.tenancy import invitations, people
from portal.tenancy.models import Invitation
from portal.web.actor import actor_of
from portal.web.forms import refusals_in, status_of


class AccountForm(forms.Form):
    """A new account's name and password; its address is the invitation's."""

    username = forms.CharField(
        label="User name", max_length=150, widget=forms.TextInput(attrs={"autocomplete": "username"})
    )
    password = forms.CharField(
        max_length=200, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, text: str) -> HttpResponse:
    """Looking changes nothing. POST accepts for whoever is signed in, or makes an account for it."""
    found = invitations.find(text)
    is_signed_in = isinstance(request.user, User)
    form = (forms.Form if is_signed_in else AccountForm)(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            if not is_signed_in:
                return _with_new_account(request, found, text, form)
            membership = invitations.accept(actor=actor_of(request), text=text)
            return _welcome(request, membership.tenant.slug, membership.tenant.name)
    context = {"invitation": found, "form": form, "text": text}
    return render(request, "portal/invitation.html", context, status=status_of(form))


def _with_new_account(request: HttpRequest, found: Invitation, text: str, form: forms.Form) -> HttpResponse:
    user = people.create_invited_user(text=text, **form.cleaned_data)
    response: HttpResponse = perform_login(request, user, email_verification="none", redirect_url="/")
    _welcome(request, found.tenant.slug, found.tenant.name)
    return response


def _welcome(request: HttpRequest, slug: str, name: str) -> HttpResponse:
    messages.success(request, f"Welcome to {name}.")
    return redirect("overview", slug)
