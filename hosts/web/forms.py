"""Forms on hosts. They check shape; the services know the rules."""

from __future__ import annotations

from typing import Any

from django import forms


class LabelsField(forms.CharField):
    """Words with spaces between them; its value is a list."""

    def __init__(self) -> None:
        words = "Words for what some machines ask of their host, such as ssd or gpu, with spaces between them."
        super().__init__(max_length=600, required=False, help_text=words)

    def prepare_value(self, value: Any) -> Any:
        return " ".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        return str(super().clean(value)).replace(",", " ").split()


class HostForm(forms.Form):
    name = forms.CharField(max_length=63, help_text="Lower-case letters, digits and hyphens.")
    uri = forms.CharField(
        label="Libvirt URI",
        max_length=300,
        help_text="Such as qemu:///system, or qemu+ssh://root@host/system with a key that Berth's user has.",
        widget=forms.TextInput(attrs={"placeholder": "qemu+ssh://root@host/system", "spellcheck": "false"}),
    )
    cluster = forms.ChoiceField(required=False, help_text="Its network and its processor are asked of the host.")
    labels = LabelsField()


class PolicyForm(forms.Form):
    cpu_ratio = forms.DecimalField(
        label="CPU over-commit ratio",
        max_digits=5,
        decimal_places=2,
        help_text="vCPUs given out per logical CPU: 8 is usual for mixed work, 1 gives each a CPU of its own.",
    )
    memory_ratio = forms.DecimalField(
        label="Memory over-commit ratio",
        max_digits=5,
        decimal_places=2,
        help_text="1 gives out what the host has. Above 1 it may run out when all machines use theirs.",
    )
    memory_reserved_mib = forms.IntegerField(
        label="Kept for the host itself (MiB)", min_value=0, help_text="Never given to machines."
    )
    cluster = forms.ChoiceField(required=False, help_text="Only an empty host changes it, and is checked anew then.")
    labels = LabelsField()
    dedicated_cpus = forms.IntegerField(
        label="CPUs for dedicated machines",
        min_value=0,
        required=False,
        help_text="The last so many. Nothing else runs on them; changed while the host has no machines.",
    )
