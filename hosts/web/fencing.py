"""Fence agents, as the installation's administrators set them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from hosts import fencing, selectors
from hosts.models import FenceAgent
from hosts.services import fencing as services
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of

_LABELS = {
    "ip": ("Address", "Of the management board: IPMI, iLO, iDRAC, Redfish."),
    "ipport": ("Port", "Empty: the usual one."),
    "username": ("User", ""),
    "plug": ("Plug", "Which of its outlets or systems, where the agent knows several."),
    "lanplus": ("IPMI 2.0", "1 or 0."),
    "cipher": ("Cipher suite", ""),
    "privlvl": ("Privilege", "administrator, operator or user."),
    "ssl": ("TLS", "1 or 0."),
    "ssl_insecure": ("TLS without checking its certificate", "1 or 0."),
}


class FenceAgentForm(forms.Form):
    """The program, its options, and a password that is never shown again."""

    agent = forms.ChoiceField(help_text="Those that the owner of this installation has put into its directory.")

    def __init__(self, *args: Any, has_password: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = fencing.agents()
        self.fields["agent"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]
        for name in fencing.OPTIONS:
            label, words = _LABELS[name]
            self.fields[name] = forms.CharField(label=label, help_text=words, max_length=253, required=False)
        words = "One is kept; empty leaves it, as long as address, user and encryption stay." if has_password else ""
        widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})
        self.fields["password"] = forms.CharField(max_length=128, required=False, help_text=words, widget=widget)

    @property
    def asked(self) -> dict[str, Any]:
        """As the service takes it."""
        given = dict(self.cleaned_data)
        agent, password = given.pop("agent"), given.pop("password")
        return {"agent": agent, "options": given, "password": password or None}


@require_http_methods(["GET", "HEAD", "POST"])
def fence_agent(request: HttpRequest, name: str) -> HttpResponse:
    """How the host's power is cut; POST sets it."""
    actor = actor_of(request)
    actor.require(Permission.FENCE_WRITE)
    host = selectors.host(actor, name)
    before = FenceAgent.objects.filter(host=host).first()
    now = {"agent": before.agent, **before.options} if before else {}
    form = FenceAgentForm(request.POST or None, initial=now, has_password=bool(before and before.password))
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.set_agent(actor=actor, host=host, **form.asked)
            messages.success(request, "It is being tested; the host's page says how that went.")
            return redirect("host-detail", name)
    context = {
        "form": form,
        "host_name": name,
        "has_agent": before is not None,
        "has_programs": bool(fencing.agents()),
        "submit": "Save agent",
        "cancel_url": reverse("host-detail", args=[name]),
    }
    return render(request, "hosts/fence_agent.html", context, status=status_of(form))


@require_POST
def fence_agent_remove(request: HttpRequest, name: str) -> HttpResponse:
    actor = actor_of(request)
    host = selectors.host(actor, name)
    with refusals_as_notice(request):
        services.remove_agent(actor=actor, host=host)
        messages.success(request, "Only a person can say from now on that the host is off.")
    return redirect("host-detail", name)
