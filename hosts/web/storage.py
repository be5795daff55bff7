"""Storage classes and pools, as the provider's administrators keep them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from hosts import selectors
from hosts.models import Host, PoolKind, StorageClass, StoragePool
from hosts.services import classes, pools
from portal.core.errors import NotFound
from portal.core.units import size
from portal.operations.models import Operation
from portal.operations.selectors import active_on_each
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from portal.web.paging import page_of

_SHAPE = {"spellcheck": "false", "autocomplete": "off"}
_HELP = {
    PoolKind.DIR: "a directory on the host",
    PoolKind.NETFS: "a directory where the export of a server is mounted",
    PoolKind.LOGICAL: "a volume group; takes no disks yet",
    PoolKind.RBD: "a pool of a Ceph cluster; takes no disks yet",
}


class ClassForm(forms.Form):
    name = forms.CharField(max_length=100)
    slug = forms.CharField(max_length=63, help_text="Its name in the API: lower-case letters, digits and hyphens.")
    description = forms.CharField(max_length=300, required=False)
    read_iops = forms.IntegerField(label="Reads per second", min_value=1, required=False, help_text="Empty: no limit.")
    write_iops = forms.IntegerField(label="Writes per second", min_value=1, required=False)
    read_mib_s = forms.IntegerField(label="MiB read per second", min_value=1, required=False)
    write_mib_s = forms.IntegerField(label="MiB written per second", min_value=1, required=False)


class PoolForm(forms.Form):
    host = forms.ChoiceField()
    name = forms.CharField(
        max_length=63, widget=forms.TextInput(attrs=_SHAPE), help_text="Of libvirt's pool: lower-case letters, digits."
    )
    storage_class = forms.ChoiceField(label="Storage class")
    kind = forms.ChoiceField(choices=[(kind.value, f"{kind.label}: {_HELP[kind]}") for kind in PoolKind])
    path = forms.CharField(
        label="Directory",
        max_length=300,
        required=False,
        widget=forms.TextInput(attrs=_SHAPE),
        help_text="On the host, such as /srv/fast. Made where it is missing; for an export, where it is mounted.",
    )
    source = forms.CharField(
        label="Export, volume group or Ceph pool", max_length=300, required=False, widget=forms.TextInput(attrs=_SHAPE)
    )
    hosts = forms.CharField(
        label="Server, or monitors",
        max_length=600,
        required=False,
        widget=forms.TextInput(attrs=_SHAPE),
        help_text="Monitors with spaces between them.",
    )
    user = forms.CharField(label="Ceph user", max_length=100, required=False, widget=forms.TextInput(attrs=_SHAPE))
    secret = forms.CharField(
        label="Ceph secret",
        max_length=36,
        required=False,
        widget=forms.TextInput(attrs=_SHAPE),
        help_text="The id of the secret that the host's libvirt has.",
    )


@dataclass(frozen=True)
class ClassRow:
    slug: str
    name: str
    description: str
    is_active: bool
    is_default: bool
    limits: list[str]


@dataclass(frozen=True)
class PoolRow:
    """`why_not` says why it cannot be removed; "" where it can."""

    id: UUID
    name: str
    host: str
    storage_class: str
    kind: str
    place: str
    word: str
    look: str
    error: str
    size: str
    checked_at: datetime | None
    why_not: str


@require_http_methods(["GET", "HEAD", "POST"])
def storage(request: HttpRequest) -> HttpResponse:
    """Classes and pools; POST adds a class."""
    actor = actor_of(request)
    form = ClassForm(request.POST or None)
    rows = selectors.pools(actor)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            made = classes.create_class(actor=actor, **form.cleaned_data)
            messages.success(request, f"{made.name} can be chosen once a pool is of it.")
            return redirect("storage")
    page = page_of(request, rows)
    working = active_on_each(pool.pk for pool in page.rows)
    context = {
        "page": page,
        "classes": [_class_row(found) for found in selectors.storage_classes(actor)],
        "pools": [_pool_row(pool, working.get(pool.pk)) for pool in page.rows],
        "form": form,
        "may_write": actor.can(Permission.HOST_WRITE),
        "why_not": actor.why_not(Permission.HOST_WRITE),
    }
    return render(request, "hosts/storage.html", context, status=status_of(form))


def _class_row(found: StorageClass) -> ClassRow:
    words = (
        (found.read_iops, "{} reads/s"),
        (found.write_iops, "{} writes/s"),
        (found.read_mib_s, "{} MiB/s read"),
        (found.write_mib_s, "{} MiB/s written"),
    )
    limits = [text.format(value) for value, text in words if value]
    return ClassRow(found.slug, found.name, found.description, found.is_active, found.is_default, limits)


def _pool_row(pool: StoragePool, operation: Operation | None) -> PoolRow:
    word, look = ("ready", "running") if pool.is_ready else ("not there", "failed")
    if pool.is_ready and not pool.takes_disks:
        word, look = "takes no disks", "stopped"
    if operation is not None:
        word, look = "being worked on", "working"
    free, all_of_it = size(pool.available_bytes), size(pool.capacity_bytes)
    return PoolRow(
        id=pool.pk,
        name=pool.name,
        host=pool.host.name,
        storage_class=pool.storage_class.name,
        kind=PoolKind(pool.kind).label,
        place=pool.path or str(pool.source.get("source", "")),
        word=word,
        look=look,
        error=pool.error,
        size=f"{free} free of {all_of_it}" if pool.checked_at else "not known yet",
        checked_at=pool.checked_at,
        why_not="It is being worked on." if operation else pools.why_not_removed(pool),
    )


@require_POST
def storage_class_change(request: HttpRequest, slug: str) -> HttpResponse:
    """POST `active` (yes or no), or `default`."""
    actor = actor_of(request)
    found = selectors.storage_class(actor, slug)
    changes = {"default": True} if "default" in request.POST else {"active": request.POST.get("active") == "yes"}
    with refusals_as_notice(request):
        classes.change_class(actor=actor, storage_class=found, **changes)
        messages.success(request, f"{found.name} was changed.")
    return redirect("storage")


@require_http_methods(["GET", "HEAD", "POST"])
def storage_pool_add(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    actor.require(Permission.HOST_WRITE)
    form = PoolForm(request.POST or None)
    form.fields["host"].choices = [(host.name, host.name) for host in Host.objects.all()]  # type: ignore[attr-defined]
    form.fields["storage_class"].choices = [  # type: ignore[attr-defined]
        (found.slug, found.name) for found in selectors.storage_classes(actor)
    ]
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            given = {**form.cleaned_data, "hosts": tuple(form.cleaned_data["hosts"].split())}
            host = selectors.host(actor, given.pop("host"))
            pools.register_pool(actor=actor, host=host, request=pools.RegisterPool(**given))
            messages.success(request, "It is being registered.")
            return redirect("storage")
    context = {"form": form, "submit": "Register pool", "cancel_url": reverse("storage")}
    return render(request, "hosts/storage_pool_add.html", context, status=status_of(form))


@require_POST
def storage_pool_remove(request: HttpRequest, pool_id: UUID) -> HttpResponse:
    actor = actor_of(request)
    pool = selectors.pools(actor).filter(pk=pool_id).first()
    if pool is None:
        raise NotFound("There is no such pool.")
    with refusals_as_notice(request):
        pools.remove_pool(actor=actor, pool=pool)
        messages.info(request, f"{pool.name} is being removed; its files stay.")
    return redirect("storage")
