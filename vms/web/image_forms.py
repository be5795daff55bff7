"""Forms on images. They check shape; the services know the rules."""

from __future__ import annotations

from typing import Any

from django import forms

from vms.models import ImageFirmware, ImageFormat

_PLAIN = {"autocomplete": "off", "spellcheck": "false"}


class PropertiesForm(forms.Form):
    name = forms.CharField(max_length=100, widget=forms.TextInput(attrs=_PLAIN))
    description = forms.CharField(max_length=300, required=False)
    os = forms.CharField(label="System", max_length=60, required=False, help_text="What runs in it, such as Debian 12.")
    default_user = forms.CharField(
        label="User", max_length=32, required=False, widget=forms.TextInput(attrs=_PLAIN), help_text="To log in as."
    )
    has_cloud_init = forms.BooleanField(
        label="It has cloud-init",
        required=False,
        help_text="At the first boot it takes host name, SSH keys and user data from Berth.",
    )
    firmware = forms.ChoiceField(
        choices=ImageFirmware.choices, help_text="What new machines start with. Most cloud images start with either."
    )
    min_memory_mib = forms.IntegerField(label="Memory at least (MiB)", min_value=1)
    min_disk_gib = forms.IntegerField(label="Disk at least (GiB)", min_value=1)


class ShareForm(forms.Form):
    tenants = forms.CharField(
        max_length=5000,
        required=False,
        widget=forms.TextInput(attrs={**_PLAIN, "placeholder": "acme, beta"}),
        help_text="The slugs of tenants, with commas between them. Empty keeps it private.",
    )

    def clean_tenants(self) -> list[str]:
        return [name for name in self.cleaned_data["tenants"].replace(",", " ").split() if name]


class DeprecateForm(forms.Form):
    deprecation = forms.CharField(
        label="What to take instead",
        max_length=200,
        required=False,
        help_text="Shown to whoever looks for it, and on machines that were made of it.",
    )


class DeleteImageForm(forms.Form):
    confirmation = forms.CharField(max_length=100, widget=forms.TextInput(attrs=_PLAIN))


class NewImageForm(forms.Form):
    """What is asked of both ways to bring one."""

    name = forms.CharField(max_length=100, widget=forms.TextInput(attrs=_PLAIN))
    format = forms.ChoiceField(choices=ImageFormat.choices, help_text="What the file is; it must be exactly that.")
    os = forms.CharField(label="System", max_length=60, required=False, help_text="Such as Debian 12.")
    default_user = forms.CharField(label="User to log in as", max_length=32, required=False)
    sha256 = forms.CharField(
        label="SHA-256",
        max_length=64,
        required=False,
        widget=forms.TextInput(attrs=_PLAIN),
        help_text="If you have it: a file with another one is refused.",
    )
    has_cloud_init = forms.BooleanField(label="It has cloud-init", required=False, initial=True)


class UrlForm(NewImageForm):
    url = forms.URLField(
        label="Address",
        max_length=2000,
        assume_scheme="https",
        widget=forms.URLInput(attrs={"placeholder": "https://cloud.debian.org/…/debian-12-generic-amd64.qcow2"}),
        help_text="https, on a public server.",
    )
    field_order = ["url", "name", "format", "os", "default_user", "sha256", "has_cloud_init"]

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, auto_id="id_url_%s")  # the page has another form with these fields


class PublishForm(forms.Form):
    name = forms.CharField(label="Name of the image", max_length=100, widget=forms.TextInput(attrs=_PLAIN))
    description = forms.CharField(max_length=300, required=False)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, auto_id="id_publish_%s")  # the page has other fields of these names
