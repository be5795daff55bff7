"""One's own account: SSH keys and API tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from portal.accounts.models import User
from portal.tenancy import credentials
from portal.tenancy.models import Tenant
from portal.tenancy.roles import READS, Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_in, status_of
from portal.web.tenant import tenants_of

FULL, READ_ONLY, CHOSEN = "full", "read", "chosen"
LIFETIMES = {"30": "30 days", "90": "90 days", "365": "One year", "": "No end"}


class SshKeyForm(forms.Form):
    public_key = forms.CharField(
        label="Public key",
        max_length=8192,
        widget=forms.Textarea(attrs={"rows": 3, "placeholder": "ssh-ed25519 AAAA… you@laptop", "spellcheck": "false"}),
        help_text="One line, from a file such as ~/.ssh/id_ed25519.pub.",
    )
    name = forms.CharField(max_length=100, required=False, help_text="Left empty, the key's own comment is its name.")


class TokenForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="What will use it, such as “backup script”.")
    tenant = forms.ChoiceField(required=False, help_text="A token for one tenant reaches nothing else.")
    rights = forms.ChoiceField(
        choices=[(FULL, "Everything I may do"), (READ_ONLY, "Read only"), (CHOSEN, "What is ticked below")],
        initial=FULL,
    )
    scopes = forms.MultipleChoiceField(
        choices=[(each.value, each.value) for each in Permission], required=False, widget=forms.CheckboxSelectMultiple
    )
    ip_ranges = forms.CharField(
        label="Usable from",
        required=False,
        max_length=1000,
        widget=forms.TextInput(attrs={"placeholder": "192.0.2.0/24 2001:db8::/32", "spellcheck": "false"}),
        help_text="Networks, with spaces between. Empty: from anywhere.",
    )
    days = forms.ChoiceField(label="Ends after", choices=list(LIFETIMES.items()), required=False, initial="90")

    def __init__(self, *args: object, tenants: list[Tenant], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        choices = [("", "All that I belong to"), *((str(tenant.pk), tenant.name) for tenant in tenants)]
        self.fields["tenant"].choices = choices  # type: ignore[attr-defined]


@require_http_methods(["GET", "HEAD", "POST"])
def ssh_keys(request: HttpRequest) -> HttpResponse:
    user = _user(request)
    form = SshKeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            key = credentials.add_key(actor=actor_of(request), **form.cleaned_data)
            messages.success(request, f"Added “{key.name}”. It is offered at each create.")
            return redirect("ssh-keys")
    return render(
        request, "accounts/ssh_keys.html", {"keys": user.ssh_keys.all(), "form": form}, status=status_of(form)
    )


@require_POST
def ssh_key_remove(request: HttpRequest, key_id: UUID) -> HttpResponse:
    key = credentials.remove_key(actor=actor_of(request), key_id=key_id)
    messages.success(request, f"Removed “{key.name}”. Machines made with it keep it.")
    return redirect("ssh-keys")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def api_tokens(request: HttpRequest) -> HttpResponse:
    """POST makes a token and shows its text in the answer, once; it is kept nowhere."""
    tenants = tenants_of(request)
    form, secret = TokenForm(request.POST or None, tenants=tenants), ""
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            secret = _create(request, form.cleaned_data)
            form = TokenForm(tenants=tenants)
    names = {tenant.pk: tenant.name for tenant in tenants}
    listed = [(token, token.tenant_id and names.get(token.tenant_id)) for token in _user(request).api_tokens.all()]
    context = {"tokens": listed, "form": form, "secret": secret, "now": timezone.now()}
    return render(request, "accounts/tokens.html", context, status=201 if secret else status_of(form))


@require_POST
def api_token_revoke(request: HttpRequest, token_id: UUID) -> HttpResponse:
    credentials.revoke_token(actor=actor_of(request), token_id=token_id)
    messages.success(request, "Revoked. Programs that use it are refused from now on.")
    return redirect("api-tokens")


def _create(request: HttpRequest, wanted: dict[str, Any]) -> str:
    """The new token's text."""
    scopes = {FULL: ["*"], READ_ONLY: sorted(READS), CHOSEN: wanted["scopes"]}
    _, text = credentials.create_token(
        actor=actor_of(request),
        made_with=None,
        name=wanted["name"],
        scopes=scopes[wanted["rights"]],
        ip_ranges=wanted["ip_ranges"].replace(",", " ").split(),
        tenant=next((each for each in tenants_of(request) if str(each.pk) == wanted["tenant"]), None),
        expires_at=timezone.now() + timedelta(days=int(wanted["days"])) if wanted["days"] else None,
    )
    return text


def _user(request: HttpRequest) -> User:
    user = actor_of(request).user
    assert user is not None
    return user
