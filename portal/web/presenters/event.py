"""The log in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse

from portal.core.units import THIN_SPACE, size
from portal.events.models import Event
from portal.operations.workflow import kinds, workflow_of
from portal.quotas.models import RESOURCES
from portal.quotas.words import amount
from portal.web import presentation

_WORDS = {
    "vm.renamed": "was renamed",
    "vm.protected": "was protected against deletion",
    "vm.unprotected": "is no longer protected",
    "vm.lease-changed": "has another expiry date",
    "vm.lease-warned": "has a lease that ends soon",
    "vm.lease-ended": "has come to the end of its lease",
    "vm.lease-kept": "is off, its lease having ended",
    "vm.lease-binned": "goes to the bin, its lease having ended",
    "tenant.lease-policy-changed": "has other rules for expiry dates",
    "vm.resized": "has another size",
    "vm.migrated": "went to another host",
    "vm.clone-asked": "is to be cloned",
    "vm.cloned": "was cloned",
    "vm.clone-failed": "could not be cloned",
    "vm.clone-cancelled": "was not cloned: it was cancelled",
    "vm.console-opened": "had its console opened",
    "operation.cancel-requested": "is to be cancelled",
    "operation.unwind-requested": "is to be undone again",
    "operation.retry-requested": "is to go on after all",
    "vm.power-changed": "changed its power, not by Berth",
    "vm.powered-off-inside": "was powered off from inside",
    "snapshot.renamed": "was renamed",
    "schedule.created": "was set up",
    "schedule.changed": "was changed",
    "schedule.removed": "was removed",
    "schedule.skipped": "was skipped",
    "schedule.failed": "could not begin",
    "drift.found": "was found to differ",
    "drift.resolved": "differs no more",
    "drift.state-changed": "is looked at differently",
    "drift.adopt-asked": "is to be adopted",
    "drift.restore-asked": "is to be restored",
    "drift.clean-up-asked": "is to be cleaned up",
    "tenant.created": "was created",
    "tenant.renamed": "was renamed",
    "tenant.suspended": "was suspended",
    "tenant.resumed": "goes on after its suspension",
    "tenant.closed": "was closed",
    "tenant.reopened": "was opened again",
    "tenant.purged": "is gone, with all that it had",
    "tenant.linked": "has a name in a billing system",
    "webhook.created": "was created",
    "webhook.changed": "was changed",
    "webhook.deleted": "was deleted",
    "webhook.enabled": "is told again",
    "webhook.disabled": "is told nothing for now",
    "webhook.given-up": "was given up",
    "webhook.secret-rotated": "has a new secret",
    "webhook.tested": "was tested",
    "webhook.replayed": "is told again what happened",
    "webhook.resend-asked": "is to get a message again",
    "member.removed": "lost a member",
    "price-book.created": "was added to the price books",
    "price-book.ended": "ends as a price book",
    "price-book.deleted": "was deleted as a price book",
    "charges.credited": "was given a credit",
    "charges.adjusted": "had its charges adjusted",
    "charges.closed": "had the charges of a month closed",
    "member.left": "was left by a member",
    "member.invited": "has invited somebody",
    "member.uninvited": "takes an invitation back",
    "member.joined": "was joined by somebody invited",
    "tenant.handed-over": "has another owner",
    "tenant.sign-in-changed": "changed what it asks of a sign-in",
    "user.staff-sign-in-changed": "changed what is asked of the staff's sign-in",
    "budget.set": "has another budget",
    "budget.removed": "has no budget any more",
    "budget.crossed": "has passed a threshold of its budget",
    "quota.changed": "had its quota changed",
    "quota.increase-asked": "asks for more quota",
    "quota.increase-approved": "may use more",
    "quota.increase-refused": "may not use more",
    "quota.increase-withdrawn": "asks for no more quota",
    "quota.increase-ended": "may use what it might before",
    "quota.rule-changed": "changed what quota is given without anybody looking",
    "backup.made": "was made",
    "backup.restore-asked": "is to be restored as a new machine",
    "vm.restored-from-backup": "has the disks of a backup",
    "backup-target.added": "was added",
    "backup-target.changed": "was changed",
    "backup-target.removed": "was removed",
    "vm.host-failed": "lost its power: its host failed",
    "vm.written-off": "was lost with its host, which never comes back",
    "vm.disks-written-off": "is off, and without the disks that were lost with its host",
    "volume.written-off": "was lost with its host, which never comes back",
    "host.written-off": "was written off",
    "host.added": "was added",
    "host.suspected": "seems to have failed",
    "host.trusted": "is not taken for failed any more",
    "host.fenced": "was fenced off, and is off for certain",
    "host.failed-over": "was failed over",
    "host.not-fenced": "could not be fenced off, so nothing starts elsewhere",
    "host.confirmed-off": "was confirmed to be off, by hand",
    "host.back": "is back, and cleared of what runs elsewhere",
    "host.fence-agent-set": "has another fence agent",
    "host.fence-agent-removed": "has no fence agent any more",
    "host.state-changed": "changed its state",
    "host.access-changed": "is reached with another key",
    "host.removed": "was removed",
    "host.labelled": "has other labels",
    "host.moved": "is in another cluster",
    "host.peer-uri-changed": "is reached by other hosts in another way",
    "group.created": "was created",
    "group.deleted": "was deleted",
    "group.joined": "has one machine more",
    "group.left": "has one machine less",
    "cluster.added": "was added",
    "cluster.changed": "was changed",
    "cluster.removed": "was removed",
    "tenant.clusters-changed": "may use other clusters",
    "host.policy-changed": "had its policy changed",
    "image.registered": "was registered",
    "image.activated": "is offered again",
    "image.retired": "was deprecated",
    "image.changed": "had its properties changed",
    "image.shared": "is seen by other tenants",
    "image.shown": "is seen by others",
    "vm.publish-asked": "is to be published as an image",
    "upload.begun": "is being uploaded",
    "upload.dropped": "was given up as an upload",
    "upload.expired": "was not uploaded in time, and given up",
    "volume.renamed": "was renamed",
    "volume.grown": "has another size",
    "storage-class.created": "was created",
    "storage-class.changed": "was changed",
    "flavor.created": "was created",
    "flavor.promised": "is promised something else",
    "flavor.activated": "is offered again",
    "flavor.retired": "was retired",
    "ssh-key.added": "was added as an SSH key",
    "ssh-key.removed": "was removed as an SSH key",
    "token.created": "was made as an API token",
    "token.revoked": "was revoked as an API token",
    "user.session-ended": "was signed out in a browser",
    "vm.seen-by-staff": "was looked at by the provider's staff",
    "user.created": "was created",
    "user.enabled": "was enabled",
    "user.disabled": "was disabled",
    "user.role-changed": "got another role",
}
_PHASES = {
    "requested": "is to be {done}",
    "succeeded": "was {done}",
    "failed": "could not be {done}",
    "cancelled": "was not {done}: it was cancelled",
}
_NAMES = {
    **{"vms": "VMs", "vcpus": "vCPUs", "memory_mib": "memory", "disk_gib": "disk"},
    **{"image_mib": "image space", "backup_mib": "backup space"},
    **{"provider_role": "rights across tenants", "memory_reserved_mib": "memory reserved (MiB)", "uri": "URI"},
    **{
        "cpu_ratio": "vCPUs per CPU",
        "memory_ratio": "memory given out",
        "class_ratios": "vCPUs per CPU by class",
        "expires_at": "ends",
    },
    **{"service_class": "class", "cpu_floor": "floor of CPU (%)", "cpu_ceiling": "ceiling of CPU (%)"},
    **{"has_huge_pages": "huge pages", "dedicated_cpus": "CPUs for dedicated machines"},
}
LONGEST_VALUE = 60
_SELF_EVIDENT = {"ui", "system"}
_LOOKS = {"succeeded": "running", "failed": "failed", "cancelled": "stopped", "requested": "working"}


@dataclass(frozen=True)
class EventRow:
    """One line of the log. `look` is a word of the status vocabulary or ""; `source` is "" for the pages.

    `kind`, `tenant` and `request_id` are for the audit.
    """

    at: datetime
    target: str
    words: str
    detail: str
    actor: str
    source: str
    look: str
    operation_url: str
    kind: str
    tenant: str
    request_id: str


def rows(events: Iterable[Event], *, for_provider: bool = False) -> list[EventRow]:
    return [_row(event, for_provider) for event in events]


def _row(event: Event, for_provider: bool) -> EventRow:
    phase, source = event.kind.rpartition(".")[2], event.source_for(for_provider=for_provider)
    return EventRow(
        at=event.at,
        target=event.target_name,
        words=_words(event),
        detail=_detail(event),
        actor=event.actor,
        source="" if source.lower() in _SELF_EVIDENT else source,
        look=_LOOKS.get(phase, ""),
        operation_url=reverse("operation-detail", args=[event.operation_id]) if event.operation_id else "",
        kind=event.kind,
        tenant=event.tenant.slug if event.tenant else "",
        request_id=event.request_id,
    )


def _words(event: Event) -> str:
    if event.kind == "member.set":
        return "has a member with another role" if event.data.get("before") else "got a member"
    if event.kind == "vm.migrated" and "is_live" in (event.data.get("after") or {}):
        return "ran on while it was moved" if event.data["after"]["is_live"] else "was off while it was moved"
    kind = event.kind.replace("_", "-")  # as older rows have it, which nobody may change
    return _WORDS.get(kind) or _phase_words(kind)


def _phase_words(kind: str) -> str:
    """`vm.force-off.failed` → `could not be forced off`; of what is not known, the words of the kind."""
    operation, _, phase = kind.rpartition(".")
    if operation in kinds() and phase in _PHASES:
        return _PHASES[phase].format(done=workflow_of(operation).done)
    _, _, rest = kind.partition(".")
    return (rest or kind).replace("-", " ").replace(".", " ")


def _detail(event: Event) -> str:
    data = event.data
    if event.kind == "vm.migrated":
        return _cost_of_a_move(data.get("after") or {})
    if error := data.get("error"):
        return str(error.get("detail", ""))
    changed = changes(data.get("before"), data.get("after"))
    if data.get("user"):
        return f"{data['user']}: {changed}"
    return changed or str(data.get("detail", ""))


def _cost_of_a_move(after: dict[str, Any]) -> str:
    """It stood still for 0.1 s. 1.2 GiB were sent in 12 s."""
    told = []
    if (still := after.get("downtime_ms")) is not None:
        told.append(f"It stood still for {_time(still)}.")
    if (sent := after.get("sent_bytes")) and (took := after.get("total_ms")) is not None:
        told.append(f"{size(sent)} were sent in {_time(took)}.")
    return " ".join(told)


def _time(milliseconds: int) -> str:
    return f"{milliseconds}{THIN_SPACE}ms" if milliseconds < 1000 else presentation.span(milliseconds / 1000)


def changes(before: dict[str, Any] | None, after: dict[str, Any] | None) -> str:
    """`memory 512 MiB → 1 GiB, disk no limit → 10 GiB`; of what is new or gone, what it is or was."""
    if before is None or after is None:
        return ", ".join(f"{_name(key)} {_value(key, value)}" for key, value in (after or before or {}).items())
    return ", ".join(
        f"{_name(key)} {_value(key, before.get(key))} → {_value(key, value)}"
        for key, value in after.items()
        if before.get(key) != value
    )


def _name(key: str) -> str:
    return _NAMES.get(key, key.removesuffix("_bytes").replace("_", " "))


def _value(key: str, value: Any) -> str:
    if value is None:
        return "no limit" if key in RESOURCES else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    if key.endswith("_bytes") and isinstance(value, int):
        return size(value)
    if key in RESOURCES and isinstance(value, int):
        return amount(key, value)
    if isinstance(value, str) and len(value) > LONGEST_VALUE:
        return f"{value[:LONGEST_VALUE]}…"
    return str(value) or "none"
