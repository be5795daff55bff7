"""Machines as pages show them: plain values, decided once, whoever renders them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils import timezone

from portal.core.units import THIN_SPACE, mib
from portal.operations.models import Operation
from portal.operations.states import State
from portal.operations.workflow import kinds, workflow_of
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import promise_words, selectors
from vms.models import VM, Flavor, Nic
from vms.promise_words import Words
from vms.services import power
from vms.states import Action, Verdict

LOOKS = {
    "running": "running",
    "paused": "attention",
    "stopped": "stopped",
    "error": "failed",
    "building": "working",
    "deleting": "working",
}
_LABELS = {
    Action.START: "Start",
    Action.STOP: "Stop",
    Action.REBOOT: "Reboot",
    Action.FORCE_OFF: "Force off",
    Action.PAUSE: "Pause",
    Action.RESUME: "Resume",
    Action.EXTEND: "Extend",
}
_ICONS = {Action.START: "play", Action.EXTEND: "clock"}

# From here on a guest that took no address is worth a look; one that boots by emulation takes half of it.
ADDRESS_IS_LATE = timedelta(seconds=60)

TABS = {
    "vm-detail": "Overview",
    "vm-console": "Console",
    "vm-metrics": "Metrics",
    "vm-disks": "Disks & snapshots",
    "vm-backups": "Backups",
    "vm-schedules": "Schedules",
    "vm-activity": "Activity",
    "vm-settings": "Settings",
}


@dataclass(frozen=True)
class Button:
    """One action: where it posts to, and why not where it may not be taken."""

    name: str
    label: str
    icon: str
    url: str
    allowed: bool
    reason: str
    is_danger: bool


@dataclass(frozen=True)
class Status:
    """A word, its look, since when it is so, and when that was last seen; `stale` where the host does not answer."""

    word: str
    look: str
    since: datetime | None
    seen_at: datetime | None
    stale: bool


@dataclass(frozen=True)
class VmRow:
    """A machine in the list. Its address is reserved from the beginning; `is_address_seen` once the guest took it."""

    id: UUID
    name: str
    url: str
    row_url: str
    console_url: str
    settings_url: str
    delete_url: str
    status: Status
    operation_url: str
    address: str
    is_address_seen: bool
    ssh: str
    size: str
    flavor: str
    image: str
    created_at: datetime
    expires_at: datetime | None
    is_lease_over: bool
    extend: Button | None
    is_protected: bool
    buttons: list[Button]
    console: Verdict
    delete: Verdict


@dataclass(frozen=True)
class Binned:
    """A machine in the bin: since and until when, and the ways out. It is on its way where `operation_url` is."""

    id: UUID
    name: str
    url: str
    size: str
    address: str
    binned_at: datetime
    purge_at: datetime
    operation_url: str
    doing: str
    restore: Verdict
    restore_url: str
    restore_id: str
    purge: Verdict
    purge_url: str
    purge_id: str


@dataclass(frozen=True)
class Tab:
    label: str
    url: str
    is_current: bool


@dataclass(frozen=True)
class VmPage(VmRow):
    """A machine's own page: all of the row, and its facts."""

    topic: str
    tab: str
    header_url: str
    tabs: list[Tab]
    slug: str
    error: str
    is_emulated: bool
    host_silent: bool
    is_address_late: bool
    binned: Binned | None
    mac: str
    default_user: str
    image_is_deprecated: bool
    deprecation: str
    vcpus: int
    memory: str
    disk: str
    storage: str
    groups: list[str]
    created_by: str
    key_count: int
    has_user_data: bool


@dataclass(frozen=True)
class Cloned:
    """How the last clone of a machine ended, for the machine's own page; the link leads to what there is to see."""

    look: str
    words: str
    url: str
    link: str


def cloned(vm: VM, last: Operation) -> Cloned | None:
    """None where the last thing that worked on the machine was not a clone of it."""
    if last.kind != "vm.clone" or last.target_id == vm.pk or last.is_active:
        return None
    if last.state == State.SUCCEEDED:
        url = reverse("vm-detail", args=[vm.tenant.slug, last.target_id])
        return Cloned("running", "It was cloned as", url, last.target_name)
    words = f"It was not cloned as {last.target_name}."
    look = "" if last.state == State.CANCELLED else "attention"
    return Cloned(look, words, reverse("operation-detail", args=[last.pk]), "What happened")


def size_words(vcpus: int, memory_mib: int, disk_gib: int) -> str:
    return f"{vcpus} vCPU · {mib(memory_mib)} · {disk_gib}{THIN_SPACE}GiB"


def row(actor: Actor, vm: VM, operation: Operation | None, slug: str) -> VmRow:
    return VmRow(**_row_fields(actor, vm, operation, slug))


def page(actor: Actor, vm: VM, operation: Operation | None, current: str) -> VmPage:
    """`current` is the name of the tab's address."""
    slug = vm.tenant.slug
    nic = vm.nics.first()
    return VmPage(
        **_row_fields(actor, vm, operation, slug),
        is_address_late=_is_address_late(vm, nic),
        binned=binned(actor, vm, operation) if vm.is_binned else None,
        topic=f"vm:{vm.pk}",
        tab=current,
        header_url=f"{reverse('vm-header', args=[slug, vm.pk])}?tab={current}",
        tabs=_tabs(vm, slug, current),
        slug=slug,
        error=vm.problem,
        is_emulated=vm.host.accelerator == "qemu",
        host_silent=not vm.host.is_reachable,
        mac=nic.mac if nic else "",
        default_user=vm.image.default_user,
        image_is_deprecated=not vm.image.is_active,
        deprecation=vm.image.deprecation,
        vcpus=vm.vcpus,
        memory=mib(vm.memory_mib),
        disk=f"{vm.disk_gib}{THIN_SPACE}GiB",
        storage=_storage(actor, vm),
        groups=[f"{group.name}, kept {group.policy}" for group in vm.groups.order_by("name")],
        created_by=vm.created_by,
        key_count=len(vm.ssh_keys),
        has_user_data=bool(vm.user_data),
    )


def _storage(actor: Actor, vm: VM) -> str:
    """The class of its boot disk, and for the provider's staff the pool; "" before there is one."""
    boot = vm.volumes.filter(is_boot=True).select_related("layer__pool__storage_class").first()
    if boot is None:
        return ""
    pool = boot.layer.pool
    return (
        f"{pool.storage_class.name}, pool {pool.name}" if actor.can(Permission.HOST_READ) else pool.storage_class.name
    )


def binned(actor: Actor, vm: VM, operation: Operation | None) -> Binned:
    assert vm.binned_at is not None
    assert vm.purge_at is not None
    verdicts, own = selectors.actions(actor, vm, operation), [vm.tenant.slug, vm.pk]
    return Binned(
        id=vm.pk,
        name=vm.name,
        url=reverse("vm-detail", args=own),
        size=size_words(vm.vcpus, vm.memory_mib, vm.disk_gib),
        address=_address(vm)[0],
        binned_at=vm.binned_at,
        purge_at=vm.purge_at,
        operation_url=reverse("operation-detail", args=[operation.pk]) if operation else "",
        doing=_doing(operation, "") if operation else "",
        restore=verdicts[Action.RESTORE],
        restore_url=reverse("vm-restore", args=own),
        restore_id=f"restore-{vm.pk}",
        purge=verdicts[Action.PURGE],
        purge_url=reverse("vm-purge", args=own),
        purge_id=f"purge-{vm.pk}",
    )


def _row_fields(actor: Actor, vm: VM, operation: Operation | None, slug: str) -> dict[str, Any]:
    verdicts = selectors.actions(actor, vm, operation)
    address, seen_at = _address(vm)
    own = [slug, vm.pk]
    return {
        "id": vm.pk,
        "name": vm.name,
        "url": reverse("vm-detail", args=own),
        "row_url": reverse("vm-row", args=own),
        "console_url": reverse("vm-console", args=own),
        "settings_url": reverse("vm-settings", args=own),
        "delete_url": f"{reverse('vm-settings', args=own)}#danger",
        "status": status_of(vm, operation),
        "operation_url": reverse("operation-detail", args=[operation.pk]) if operation else "",
        "address": address,
        "is_address_seen": seen_at is not None,
        "ssh": vm.image.ssh(address) if address else "",
        "size": size_words(vm.vcpus, vm.memory_mib, vm.disk_gib),
        "flavor": vm.flavor.name,
        "image": vm.image.name,
        "created_at": vm.created_at,
        "expires_at": vm.expires_at,
        "is_lease_over": vm.is_lease_over,
        "extend": _button(Action.EXTEND, verdicts[Action.EXTEND], reverse("vm-extend", args=own)) if vm.lease else None,
        "is_protected": vm.is_protected,
        "buttons": _buttons(verdicts, own),
        "console": verdicts[Action.CONSOLE],
        "delete": verdicts[Action.DELETE],
    }


def status_of(vm: VM, operation: Operation | None) -> Status:
    stale = not vm.host.is_reachable
    word, look, since = vm.status, LOOKS[vm.status], vm.observed_since
    if operation is not None:
        word, look = _doing(operation, word), "attention" if operation.needs_attention else "working"
        since = operation.created_at
    elif vm.is_binned:
        word, look, since = "in the bin", "failed" if vm.error else "stopped", vm.binned_at
    elif vm.host.has_failed:
        word, look, since, stale = "its host failed", "failed", vm.host.failed_at, False
    return Status(word=word, look=look, since=since, seen_at=vm.host.seen_at, stale=stale)


def _doing(operation: Operation, otherwise: str) -> str:
    """`otherwise` for a kind that only another version of Berth knows."""
    return workflow_of(operation.kind).doing if operation.kind in kinds() else otherwise


def _buttons(verdicts: Mapping[Action, Verdict], own: list[object]) -> list[Button]:
    return [
        _button(action, verdicts[action], reverse("vm-action", args=[*own, action.value])) for action in power.ACTIONS
    ]


def _button(action: Action, verdict: Verdict, url: str) -> Button:
    return Button(
        name=action.value,
        label=_LABELS[action],
        icon=_ICONS.get(action, action.value),
        url=url,
        allowed=verdict.allowed,
        reason=verdict.reason,
        is_danger=action is Action.FORCE_OFF,
    )


def _address(vm: VM) -> tuple[str, datetime | None]:
    """The address and when the guest took it. Lists bring both along in their own query."""
    if hasattr(vm, "address"):
        return vm.address or "", vm.address_seen_at  # type: ignore[attr-defined]
    nic = vm.nics.first()
    return (nic.ip, nic.seen_at) if nic else ("", None)


def _is_address_late(vm: VM, nic: Nic | None) -> bool:
    if nic is None or nic.seen_at or vm.status != "running" or vm.observed_since is None:
        return False
    return timezone.now() - vm.observed_since > ADDRESS_IS_LATE


def _tabs(vm: VM, slug: str, current: str) -> list[Tab]:
    return [Tab(label, reverse(name, args=[slug, vm.pk]), name == current) for name, label in TABS.items()]


@dataclass(frozen=True)
class FlavorRow:
    id: UUID
    slug: str
    name: str
    vcpus: int
    memory: str
    disk: str
    is_active: bool
    promise: Words
    host_labels: list[str]


def flavor(flavor: Flavor) -> FlavorRow:
    return FlavorRow(
        id=flavor.pk,
        slug=flavor.slug,
        name=flavor.name,
        vcpus=flavor.vcpus,
        memory=mib(flavor.memory_mib),
        disk=f"{flavor.disk_gib}{THIN_SPACE}GiB",
        is_active=flavor.is_active,
        promise=promise_words.words(flavor.promise(), flavor.cpu_floor),
        host_labels=flavor.host_labels,
    )
