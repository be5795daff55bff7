"""Forms on volumes. They check shape; the services know the rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

Choices = Sequence[tuple[str, str]]
_NAME = {"autocomplete": "off", "spellcheck": "false"}


class VolumeForm(forms.Form):
    name = forms.CharField(max_length=63, widget=forms.TextInput(attrs=_NAME), help_text="For people.")
    size_gib = forms.IntegerField(label="Size (GiB)", min_value=1, initial=10, help_text="It can grow later.")
    storage_class = forms.ChoiceField(label="Storage", required=False, help_text="What each disk may do in a second.")
    vm = forms.ChoiceField(label="Attach to", required=False, help_text="A machine that runs gets it at once.")

    def __init__(self, *args: Any, classes: Choices, machines: Choices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["storage_class"].choices = classes  # type: ignore[attr-defined]
        self.fields["vm"].choices = [("", "No machine yet"), *machines]  # type: ignore[attr-defined]


class NameForm(forms.Form):
    name = forms.CharField(max_length=63, widget=forms.TextInput(attrs=_NAME))


class GrowForm(forms.Form):
    size_gib = forms.IntegerField(label="New size (GiB)", min_value=1)


class AttachForm(forms.Form):
    vm = forms.ChoiceField(label="Machine", help_text="On the host where the volume lies, running or not.")

    def __init__(self, *args: Any, machines: Choices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["vm"].choices = machines  # type: ignore[attr-defined]


class MoveForm(forms.Form):
    storage_class = forms.ChoiceField(label="Storage")

    def __init__(self, *args: Any, classes: Choices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["storage_class"].choices = classes  # type: ignore[attr-defined]


class AttachHereForm(forms.Form):
    """On a machine's own page: which of the volumes that are attached to nothing."""

    volume = forms.ChoiceField(label="Volume")

    def __init__(self, *args: Any, volumes: Choices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["volume"].choices = volumes  # type: ignore[attr-defined]


class DeleteForm(forms.Form):
    confirmation = forms.CharField(max_length=63, widget=forms.TextInput(attrs={"autocomplete": "off"}))
