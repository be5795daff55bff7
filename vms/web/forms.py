"""Forms on machines and what they are made of. They check shape; the services know the rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms

from hosts.service_class import WHOLE, ServiceClass
from hosts.web.forms import LabelsField
from portal.accounts.models import SshKey
from vms.lease import Terms
from vms.models.catalogue import Priority
from vms.services.clone import MODES
from vms.services.create import LONGEST_USER_DATA
from vms.web.leases import ExpiryField, help_on

MOST_AT_ONCE = 100
UUID_FIELD = forms.UUIDField()


class CreateForm(forms.Form):
    """Image, flavor and keys are cards and boxes of the page."""

    image = forms.CharField(max_length=63)
    flavor = forms.CharField(label="Size", max_length=63)
    name = forms.CharField(
        max_length=63,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
        help_text="Lower-case letters, digits and hyphens. It is the hostname inside, too.",
    )
    ssh_keys = forms.MultipleChoiceField(label="SSH keys", required=False, widget=forms.CheckboxSelectMultiple)
    new_key = forms.CharField(
        label="Another public key",
        max_length=8192,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "ssh-ed25519 AAAA… you@laptop", "spellcheck": "false"}),
        help_text="Pasted once, it is remembered in your account.",
    )
    user_data = forms.CharField(
        label="User data",
        max_length=LONGEST_USER_DATA,
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 6, "placeholder": "#!/bin/sh", "spellcheck": "false"}),
        help_text="A script or cloud-config that runs at the first boot. 64 KiB at most.",
    )
    groups = forms.MultipleChoiceField(
        required=False, widget=forms.CheckboxSelectMultiple, help_text="Kept apart from their machines, or with them."
    )
    storage_class = forms.ChoiceField(
        label="Storage", required=False, help_text="Where its disk lies, and what it may do in a second."
    )
    expires_at = ExpiryField()
    protected = forms.BooleanField(
        label="Protect against deletion",
        required=False,
        help_text="Deleting is refused until the protection is removed.",
    )

    def clean_user_data(self) -> str:
        """Browsers end lines with CR LF, and a guest takes the CR for a part of the interpreter's name."""
        return str(self.cleaned_data["user_data"]).replace("\r\n", "\n")

    def __init__(
        self,
        *args: Any,
        keys: list[SshKey],
        classes: Sequence[tuple[str, str]] = (),
        groups: Sequence[tuple[str, str]] = (),
        terms: Terms,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.fields["expires_at"].help_text = help_on(terms)
        self.fields["groups"].choices = groups  # type: ignore[attr-defined]
        self.fields["storage_class"].choices = [("", "The host's own"), *classes]  # type: ignore[attr-defined]
        if not keys:
            self.fields["new_key"].label = "Public key"
        self.fields["ssh_keys"].choices = [(str(key.pk), key.name) for key in keys]  # type: ignore[attr-defined]


class RenameForm(forms.Form):
    name = forms.CharField(max_length=63, widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}))


class ResizeForm(forms.Form):
    flavor = forms.CharField(label="Size", max_length=63)


class CloneForm(forms.Form):
    """`mode` is two cards of the page."""

    mode = forms.ChoiceField(choices=[(mode, mode) for mode in MODES], initial=MODES[0])
    name = forms.CharField(
        label="Name of the new machine",
        max_length=63,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
        help_text="Lower-case letters, digits and hyphens. It is the hostname inside, too.",
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, auto_id="id_clone_%s")  # the page has another field of this name


class ProtectForm(forms.Form):
    protected = forms.BooleanField(required=False)


class DeleteForm(forms.Form):
    confirmation = forms.CharField(
        label="Name of the machine", max_length=63, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )

    purge = forms.BooleanField(label="Delete it at once and for good, without the bin", required=False)


class RestoreForm(forms.Form):
    name = forms.CharField(
        max_length=63, required=False, widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})
    )


class BulkForm(forms.Form):
    """`confirmation`, the number of machines, is asked for by the page that a bulk delete shows first."""

    action = forms.ChoiceField(choices=[("start", "Start"), ("stop", "Stop"), ("delete", "Delete")])
    vm = forms.Field(required=False)
    confirmation = forms.CharField(required=False, max_length=20)

    def clean_vm(self) -> list[UUID]:
        chosen = self.data.getlist("vm")  # type: ignore[attr-defined]
        if not 1 <= len(chosen) <= MOST_AT_ONCE:
            raise forms.ValidationError(f"Choose 1 to {MOST_AT_ONCE} machines first.")
        return [UUID_FIELD.clean(value) for value in chosen]

    @property
    def complaint(self) -> str:
        """All that is wrong, in one line."""
        return " ".join(str(error) for errors in self.errors.values() for error in errors)


class ClassForm(forms.Form):
    """What is promised of a size."""

    service_class = forms.ChoiceField(
        label="Service class",
        choices=[
            (ServiceClass.BURSTABLE.value, "Burstable: a floor and a ceiling of CPU"),
            (ServiceClass.GUARANTEED.value, "Guaranteed: a floor of CPU, and all memory reserved"),
            (ServiceClass.DEDICATED.value, "Dedicated: CPUs of its own, and all memory reserved"),
            (ServiceClass.BEST_EFFORT.value, "Best effort: what others leave"),
        ],
        required=False,
        help_text="What machines of this size get when all are busy. Hosts that cannot keep it get none of them.",
    )
    cpu_floor = forms.IntegerField(
        label="CPU floor (%)",
        min_value=1,
        max_value=WHOLE,
        required=False,
        help_text="Of one CPU for each vCPU. Empty: 50 when guaranteed; when burstable, what the over-commit leaves.",
    )
    cpu_ceiling = forms.IntegerField(
        label="CPU ceiling (%)",
        min_value=1,
        max_value=WHOLE,
        required=False,
        help_text="Of one CPU for each vCPU, when burstable. Empty: all of it where nobody else wants it.",
    )
    has_huge_pages = forms.BooleanField(
        label="Huge pages",
        required=False,
        help_text="For reserved memory, on hosts that set huge pages aside.",
    )
    recovery_priority = forms.ChoiceField(
        label="When its host fails",
        choices=Priority.choices,
        required=False,
        initial=Priority.NORMAL,
        help_text="Whose turn it is to start elsewhere. This counts at once, also for machines that have the size.",
    )

    host_labels = LabelsField("Words that the hosts of its machines must have, with spaces between them.")

    def clean_service_class(self) -> str:
        return self.cleaned_data["service_class"] or ServiceClass.BURSTABLE.value

    def clean_recovery_priority(self) -> str:
        return self.cleaned_data["recovery_priority"] or Priority.NORMAL.value


class FlavorForm(ClassForm):
    name = forms.CharField(max_length=100)
    slug = forms.CharField(max_length=63, help_text="Its name in the API: lower-case letters, digits and hyphens.")
    vcpus = forms.IntegerField(label="vCPUs", min_value=1, initial=1)
    memory_mib = forms.IntegerField(label="Memory (MiB)", min_value=1, initial=1024)
    disk_gib = forms.IntegerField(label="Disk (GiB)", min_value=1, initial=10)

    field_order = ("name", "slug", "vcpus", "memory_mib", "disk_gib")
