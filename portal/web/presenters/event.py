"""The log in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse

from portal.events.models import Event

_WORDS = {
    "vm.renamed": "was renamed",
    "vm.protected": "was protected against deletion",
    "vm.unprotected": "is no longer protected",
    "vm.console_opened": "had its console opened",
    "operation.cancel_requested": "is to be cancelled",
    "operation.unwind_requested": "is to be undone again",
    "operation.retry_requested": "is to go on after all",
    "vm.powered_off_inside": "was powered off from inside",
    "drift.found": "was found to differ",
    "drift.resolved": "differs no more",
    "drift.state_changed": "is looked at differently",
    "drift.adopt_asked": "is to be adopted",
    "drift.restore_asked": "is to be restored",
    "drift.clean-up_asked": "is to be cleaned up",
    "tenant.created": "was created",
    "tenant.renamed": "was renamed",
    "member.set": "had a member set",
    "member.removed": "had a member removed",
    "quota.changed": "had its quota changed",
    "host.added": "was added",
    "host.state_changed": "changed its state",
    "host.policy_changed": "had its policy changed",
    "image.registered": "was registered",
    "image.activated": "is offered again",
    "image.retired": "was retired",
    "flavor.created": "was created",
    "flavor.activated": "is offered again",
    "flavor.retired": "was retired",
    "user.created": "was created",
    "user.enabled": "was enabled",
    "user.disabled": "was disabled",
    "user.role_changed": "got another role",
}
_PHASES = {"requested": "asked for", "succeeded": "done", "failed": "failed", "cancelled": "cancelled"}
_SELF_EVIDENT = {"ui", "system"}
_LOOKS = {"succeeded": "running", "failed": "failed", "cancelled": "stopped", "requested": "working"}


@dataclass(frozen=True)
class EventRow:
    """One line of the log. `look` is a word of the status vocabulary or ""; `source` is "" for the pages."""

    at: datetime
    target: str
    words: str
    detail: str
    actor: str
    source: str
    look: str
    operation_url: str


def rows(events: Iterable[Event]) -> list[EventRow]:
    return [_row(event) for event in events]


def _row(event: Event) -> EventRow:
    phase = event.kind.rpartition(".")[2]
    return EventRow(
        at=event.at,
        target=event.target_name,
        words=_WORDS.get(event.kind) or _phase_words(event.kind),
        detail=_detail(event.data),
        actor=event.actor,
        source="" if event.source.lower() in _SELF_EVIDENT else event.source,
        look=_LOOKS.get(phase, ""),
        operation_url=reverse("operation-detail", args=[event.operation_id]) if event.operation_id else "",
    )


def _phase_words(kind: str) -> str:
    """`vm.force-off.failed` → `force off failed`."""
    parts = kind.split(".")
    name = parts[1].replace("-", " ").replace("_", " ") if len(parts) > 1 else kind
    return f"{name} {_PHASES.get(parts[-1], parts[-1])}" if len(parts) > 2 else name


def _detail(data: dict[str, Any]) -> str:
    if error := data.get("error"):
        return str(error.get("detail", ""))
    if data.get("user"):
        return f"{data['user']}: {data.get('after') or 'removed'}"
    if data.get("detail"):
        return str(data["detail"])
    before, after = data.get("before"), data.get("after")
    if isinstance(before, dict) and isinstance(after, dict):
        return ", ".join(f"{key}: {before[key]} → {after[key]}" for key in after if before.get(key) != after[key])
    return f"{before} → {after}" if isinstance(before, str) and isinstance(after, str) else ""
