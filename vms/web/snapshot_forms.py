"""Forms on snapshots. They check shape; the service knows the rules."""

from __future__ import annotations

from django import forms

from vms.services.snapshots import LONGEST_DESCRIPTION, LONGEST_NAME

_NAME = {"autocomplete": "off", "spellcheck": "false"}


class TakeForm(forms.Form):
    name = forms.CharField(max_length=LONGEST_NAME, widget=forms.TextInput(attrs=_NAME))
    memory = forms.BooleanField(
        label="With its memory",
        required=False,
        help_text="A return to it goes on where the guest was. It stands still while its memory is written down.",
    )


class DescribeForm(forms.Form):
    name = forms.CharField(max_length=LONGEST_NAME, widget=forms.TextInput(attrs=_NAME))
    description = forms.CharField(max_length=LONGEST_DESCRIPTION, required=False)


class RevertForm(forms.Form):
    safety = forms.BooleanField(
        label="Keep what it is now as a snapshot first",
        required=False,
        help_text="Without it, all that was written since is lost.",
    )
