"""Forms on hosts. They check shape; the services know the rules."""

from __future__ import annotations

from typing import Any

from django import forms

from hosts.access import FIELDS, LONGEST, SSH_FIELDS, TLS_FIELDS

LABELS = "Words for what some machines ask of their host, such as ssd or gpu, with spaces between them."


class LabelsField(forms.CharField):
    """Words with spaces between them; its value is a list."""

    def __init__(self, help_text: str) -> None:
        super().__init__(max_length=600, required=False, help_text=help_text)

    def prepare_value(self, value: Any) -> Any:
        return " ".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        return str(super().clean(value)).replace(",", " ").split()


class Unshown(forms.Textarea):
    """For what must not come back to the page, not even in a form that is refused."""

    def format_value(self, value: Any) -> str:
        return ""


def _pem(label: str, help_text: str, widget: type[forms.Textarea] = forms.Textarea) -> forms.CharField:
    attributes = {"rows": 4, "spellcheck": "false", "autocomplete": "off"}
    return forms.CharField(
        label=label, help_text=help_text, max_length=LONGEST, required=False, widget=widget(attrs=attributes)
    )


class AccessForm(forms.Form):
    """What the host is shown, and what it is known by; of one kind, or of none."""

    ssh_key = _pem("Private key", "Without a passphrase, as ssh-keygen writes it. It is not shown again.", Unshown)
    host_keys = _pem("Keys of the host", "One a line: ssh-keyscan prints them. Compare them with those on the host.")
    ca_certificate = _pem("CA certificate", "Of the CA that has issued the host's certificate (PEM).")
    client_certificate = _pem("Client certificate", "What Berth shows the host (PEM).")
    client_key = _pem("Key of the client certificate", "PEM, without a passphrase. It is not shown again.", Unshown)

    @property
    def ssh_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in SSH_FIELDS]

    @property
    def tls_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in TLS_FIELDS]

    @property
    def other_fields(self) -> list[forms.BoundField]:
        return [field for field in self if field.name not in FIELDS]

    @property
    def given(self) -> dict[str, str]:
        return {name: self.cleaned_data[name] for name in FIELDS}

    @property
    def asked(self) -> dict[str, Any]:
        """All else."""
        return {name: value for name, value in self.cleaned_data.items() if name not in FIELDS}


class HostForm(AccessForm):
    name = forms.CharField(max_length=63, help_text="Lower-case letters, digits and hyphens.")
    uri = forms.CharField(
        label="Libvirt URI",
        max_length=300,
        help_text="qemu:///system for this machine; qemu+ssh://root@host/system or qemu+tls://host/system for others.",
        widget=forms.TextInput(attrs={"placeholder": "qemu+ssh://root@host/system", "spellcheck": "false"}),
    )
    cluster = forms.ChoiceField(required=False, help_text="Its network and its processor are asked of the host.")
    labels = LabelsField(LABELS)


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
    labels = LabelsField(LABELS)
    peer_uri = forms.CharField(
        label="Address for other hosts",
        max_length=300,
        required=False,
        help_text="The libvirt URI by which other hosts hand machines over to it; empty: the one that Berth uses.",
        widget=forms.TextInput(attrs={"placeholder": "qemu+tls://host/system", "spellcheck": "false"}),
    )
    dedicated_cpus = forms.IntegerField(
        label="CPUs for dedicated machines",
        min_value=0,
        required=False,
        help_text="The last so many. Nothing else runs on them; changed while the host has no machines.",
    )
