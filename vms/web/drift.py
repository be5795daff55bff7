"""Drift as pages show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse

from portal.core.units import mib, size
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from vms import selectors
from vms.audit.findings import Kind
from vms.models import Drift, DriftState
from vms.resolutions import Resolution

TITLES = {
    Kind.UNDEFINED_OUTSIDE: "Machine is gone from its host",
    Kind.STARTED_OUTSIDE: "Machine was started by hand",
    Kind.STOPPED_OUTSIDE: "Machine was stopped by hand",
    Kind.DEFINITION_CHANGED: "Definition was changed",
    Kind.RUNNING_CHANGED: "Running machine was changed",
    Kind.DISK_MISSING: "Volume is missing",
    Kind.DISK_CHANGED: "Disk is not the one that was made",
    Kind.DISK_LARGER: "Disk is larger than is accounted for",
    Kind.ADDRESS_MISSING: "Address is not reserved",
    Kind.DOMAIN_WITHOUT_VM: "Domain without a machine",
    Kind.FOREIGN_DOMAIN: "Domain of somebody else's",
    Kind.DUPLICATE_DOMAIN: "Machine is on two hosts",
    Kind.DUPLICATE_ADDRESS: "Two guests have one address",
    Kind.VOLUME_WITHOUT_OWNER: "Volume without an owner",
    Kind.UNFINISHED_VOLUME: "Upload was never finished",
    Kind.ADDRESS_WITHOUT_OWNER: "Address without an owner",
    Kind.CLAIM_WITHOUT_VM: "Claim without a machine",
    Kind.CLAIM_WRONG: "Claim does not fit its machine",
    Kind.POOL_UNAVAILABLE: "Storage pool is off",
    Kind.NETWORK_UNAVAILABLE: "Network is missing",
}
_LOOKS = {DriftState.OPEN: "attention", DriftState.IGNORED: "stopped", DriftState.RESOLVED: "running"}
_BUTTONS = {
    Resolution.RESTORE: "Restore",
    Resolution.ADOPT: "Adopt",
    Resolution.CLEAN_UP: "Clean up",
    Resolution.IGNORE: "Ignore",
    Resolution.REOPEN: "Reopen",
}
_CONFIRM = {Resolution.CLEAN_UP: "It is gone then. After a restored backup, it may be what somebody made since."}
_NAMES = {"vcpus": "vCPUs", "memory_mib": "memory", "disk_gib": "disk GiB", "bytes": "size", "vms": "VMs"}


@dataclass(frozen=True)
class Button:
    id: str
    label: str
    kind: str
    url: str
    allowed: bool
    reason: str
    confirm: str


@dataclass(frozen=True)
class Card:
    """One difference. `present` and `wanted` are what is and what should be, as pairs of words."""

    id: UUID
    title: str
    detail: str
    object: str
    host: str
    host_url: str
    vm: str
    vm_url: str
    state: str
    look: str
    present: list[tuple[str, str]]
    wanted: list[tuple[str, str]]
    first_seen: datetime
    last_seen: datetime
    resolved_at: datetime | None
    buttons: list[Button]
    busy_with: str
    operation_url: str


def card(actor: Actor, drift: Drift, operation: Operation | None) -> Card:
    vm, host = drift.vm, drift.host
    return Card(
        id=drift.pk,
        title=TITLES.get(Kind(drift.kind), drift.kind),
        detail=_sentence(drift.detail, vm.name if vm else ""),
        object=drift.object,
        host=host.name if host else "",
        host_url=reverse("host-detail", args=[host.name]) if host else "",
        vm=vm.name if vm else "",
        vm_url=reverse("vm-detail", args=[vm.tenant.slug, vm.pk]) if vm else "",
        state=drift.state,
        look=_LOOKS[DriftState(drift.state)],
        present=_pairs(drift.evidence.get("is"), drift.evidence.get("should")),
        wanted=_pairs(drift.evidence.get("should"), drift.evidence.get("is")),
        first_seen=drift.first_seen,
        last_seen=drift.last_seen,
        resolved_at=drift.resolved_at,
        buttons=_buttons(actor, drift, operation),
        busy_with=operation.title if operation else "",
        operation_url=reverse("operation-detail", args=[operation.pk]) if operation else "",
    )


def _buttons(actor: Actor, drift: Drift, operation: Operation | None) -> list[Button]:
    """What helps comes first; of ignoring and reopening, the one that makes sense."""
    if drift.state == DriftState.RESOLVED:
        return []
    verdicts = selectors.resolutions(actor, drift, operation)
    other = Resolution.IGNORE if drift.state == DriftState.IGNORED else Resolution.REOPEN
    shown = [resolution for resolution in _BUTTONS if resolution is not other]
    first = next((each for each in shown if verdicts[each].allowed and each not in _PLAIN), None)
    return [
        Button(
            id=f"{resolution}-{drift.pk}",
            label=_BUTTONS[resolution],
            kind=_kind(resolution, first),
            url=reverse("drift-resolve", args=[drift.pk, resolution]),
            allowed=verdicts[resolution].allowed,
            reason=verdicts[resolution].reason,
            confirm=_CONFIRM.get(resolution, ""),
        )
        for resolution in shown
    ]


_PLAIN = (Resolution.IGNORE, Resolution.REOPEN)


def _kind(resolution: Resolution, first: Resolution | None) -> str:
    if resolution is Resolution.CLEAN_UP:
        return "danger"
    return "primary" if resolution is first else ""


def _sentence(words: str, name: str) -> str:
    """With a capital, unless it begins with a machine's name."""
    return words if name and words.startswith(name) else words[:1].upper() + words[1:]


def _pairs(values: Mapping[str, Any] | None, others: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Without what is the same on both sides."""
    values, others = values or {}, others or {}
    told = [name for name, value in values.items() if name not in others or others[name] != value]
    return [(_NAMES.get(name, name), _words(name, values[name])) for name in told]


def _words(name: str, value: Any) -> str:
    if name == "memory_mib":
        return mib(value)
    if name == "bytes":
        return size(value)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
