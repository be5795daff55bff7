"""Leases as pages show and take them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

from django import forms
from django.utils import timezone

from vms import lease_evidence, lease_words
from vms.lease import DAYS, Demand, Stage, Terms
from vms.lease_selectors import terms_of
from vms.models import VM


@dataclass(frozen=True)
class LeaseCard:
    """A machine's lease. `words` say what comes next, and what the machine did of late; "" while its end is far."""

    expires_at: datetime
    headline: str
    words: str


def card(vm: VM) -> LeaseCard | None:
    """None where it has none, and in the bin, where it is restored first. As many queries as the stage needs."""
    if vm.expires_at is None or vm.is_binned:
        return None
    is_near = vm.lease_stage != Stage.RUNNING
    return LeaseCard(
        expires_at=vm.expires_at,
        headline=_HEADLINES[Stage(vm.lease_stage)],
        words=_words(vm) if is_near else "",
    )


def _words(vm: VM) -> str:
    evidence = lease_evidence.of_vm(vm, timezone.now()).words
    return lease_words.told(vm, terms_of(vm.tenant_id), evidence)


_HEADLINES = {
    Stage.RUNNING: "Its lease goes on",
    Stage.WARNED: "Its lease ends soon",
    Stage.ENDED: "Its lease has ended",
    Stage.KEPT: "Its lease has ended",
    Stage.BINNED: "Its lease has ended",
}


class ExpiryField(forms.DateField):
    """A day, at whose beginning (UTC) a lease ends; None for none."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
        super().__init__(label="Expires on", required=False, input_formats=["%Y-%m-%d"], widget=widget, **kwargs)

    def clean(self, value: Any) -> datetime | None:
        day = super().clean(value)
        return datetime.combine(day, time(), UTC) if day else None


def help_on(terms: Terms) -> str:
    longest = f" At most {terms.longest_days} days ahead." if terms.longest_days else ""
    if terms.demand == Demand.DEMANDED:
        return f"It is stopped as that day begins (UTC). Empty: in {terms.longest_days or DAYS} days.{longest}"
    return f"It is stopped as that day begins (UTC). Empty: it has no expiry date.{longest}"


class LeaseForm(forms.Form):
    expires_at = ExpiryField()


class PolicyForm(forms.Form):
    """The rules are the service's."""

    demand = forms.ChoiceField(
        label="Expiry dates",
        choices=[
            (Demand.OPTIONAL.value, "Optional: whoever makes a machine may give it one"),
            (Demand.DEMANDED.value, "Demanded: every machine has one"),
            (Demand.NONE.value, "None: those that there are are removed"),
        ],
    )
    longest_days = forms.IntegerField(
        label="Longest lease (days)", required=False, help_text="Empty: no limit. Dates that are there already stay."
    )
    warn_days = forms.IntegerField(label="Warned before its end (days)", help_text="By mail, to members and owners.")
    off_days = forms.IntegerField(label="Off before it goes to the bin (days)")

    @property
    def terms(self) -> Terms:
        wanted = self.cleaned_data
        return Terms(Demand(wanted["demand"]), wanted["longest_days"], wanted["warn_days"], wanted["off_days"])
