"""Fence agents, as the installation's administrators set them."""

from __future__ import annotations

from dataclasses import dataclass
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
    "lanplus": ("IPMI 2.0", ""),
    "cipher": ("Cipher suite", "A number; empty: the usual one."),
    "privlvl": ("Privilege", ""),
    "ssl": ("TLS", ""),
    "ssl_insecure": ("TLS without checking its certificate", ""),
}
_USUAL = ("", "As the agent does by itself")
_SWITCH = (_USUAL, ("1", "Yes"), ("0", "No"))
_CHOICES = {
    "lanplus": _SWITCH,
    "ssl": _SWITCH,
    "ssl_insecure": _SWITCH,
    "privlvl": (_USUAL, ("administrator", "Administrator"), ("operator", "Operator"), ("user", "User")),
}


@dataclass(frozen=True)
class FieldOfAgents:
    """`agents` are those that take it, with spaces between them; it is shown for the one that is chosen."""

    field: forms.BoundField
    agents: str
    is_shown: bool


class FenceAgentForm(forms.Form):
    """The program, its options, and a password that is never shown again."""

    agent = forms.ChoiceField(help_text="Those that the owner of this installation has put into its directory.")

    def __init__(self, *args: Any, has_password: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._agents = fencing.agents()
        self.fields["agent"].choices = [(name, name) for name in self._agents]  # type: ignore[attr-defined]
        for name in fencing.OPTIONS:
            self.fields[name] = _option(name)
        words = "One is kept; empty leaves it, as long as address, user and encryption stay." if has_password else ""
        widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})
        self.fields["password"] = forms.CharField(max_length=128, required=False, help_text=words, widget=widget)

    @property
    def of_agents(self) -> list[FieldOfAgents]:
        """All fields but the agent itself. One that came back with an error is shown whatever is chosen."""
        chosen = self["agent"].value() or next(iter(self._agents), "")
        return [self._of_agents(field, str(chosen)) for field in self if field.name != "agent"]

    def _of_agents(self, field: forms.BoundField, chosen: str) -> FieldOfAgents:
        takers = [name for name in self._agents if _takes(name, field.name)]
        return FieldOfAgents(field, " ".join(takers), is_shown=chosen in takers or bool(field.errors))

    @property
    def asked(self) -> dict[str, Any]:
        """As the service takes it: what the chosen agent takes, and no more."""
        given = dict(self.cleaned_data)
        agent, password = given.pop("agent"), given.pop("password")
        options = {name: value for name, value in given.items() if _takes(agent, name)}
        return {"agent": agent, "options": options, "password": (_takes(agent, "password") and password) or None}


def _option(name: str) -> forms.Field:
    label, words = _LABELS[name]
    if name in _CHOICES:
        return forms.ChoiceField(label=label, choices=_CHOICES[name], required=False)
    return forms.CharField(label=label, help_text=words, max_length=253, required=False)


def _takes(agent: str, field: str) -> bool:
    return fencing.takes_password(agent) if field == "password" else field in fencing.options_of(agent)


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
