"""Operations as pages show them: what happened, what is under way, what it waits for, what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse
from django.utils import timezone

from portal.core import text
from portal.operations import selectors as operations
from portal.operations.models import Operation, OperationStep
from portal.operations.states import State, StepState
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from portal.web import presentation

WORDS = {
    State.QUEUED: "waiting",
    State.RUNNING: "under way",
    State.UNWINDING: "undoing",
    State.SUCCEEDED: "done",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.STUCK: "needs attention",
}
# A word of the status vocabulary, which gives colour and shape.
LOOKS = {
    State.QUEUED: "working",
    State.RUNNING: "working",
    State.UNWINDING: "working",
    State.SUCCEEDED: "running",
    State.FAILED: "failed",
    State.CANCELLED: "stopped",
    State.STUCK: "attention",
}
_ADVICE = {
    "no_space": "Delete what is not needed, or ask an administrator for more storage. Then try again.",
    "no_memory": "Try again later, choose a smaller size, or ask an administrator for more memory.",
    "guest_kept_disk": "Unmount it inside and try again, or stop the machine first.",
    "guest_did_not_stop": "Open the console to see what it is doing, or use “Force off”.",
    "image_missing": "Choose another image, or ask an administrator to register this one again.",
    "image_copy_damaged": "Try again. If it happens again, give your administrator the id of this operation.",
    "in_use": "Delete what stands on it first.",
    "image_external_reference": "Flatten it into one file, for instance with “qemu-img convert”, and send that.",
    "image_format_mismatch": "Look what the file is, for instance with “qemu-img info”, and say that.",
    "image_compressed": "Unpack it, and send the disk image in it.",
    "image_encrypted": "Decrypt it, and send it again.",
    "image_damaged": "Look whether the file is whole, for instance by its checksum, and send it again.",
    "image_too_large": "Make the disk in the image smaller, or ask an administrator for a higher limit.",
    "image_unsupported": "Convert it with “qemu-img convert -O qcow2”, and send that.",
    "checksum_mismatch": "Look whether the file is whole and the SHA-256 is its own, and send it again.",
    "url_not_allowed": "Use a URL of a public server, or upload the file.",
    "fetch_failed": "Open the URL elsewhere to see what it gives, or upload the file.",
    "host_not_empty": "The drain plan of the host says what is in the way of each. When that is done, drain it again.",
    "drain_failed": "Drain that host by itself, uncordon it, and begin with the others again.",
    "put_back": "Drain it again when it is to be empty.",
    "cancelled": "Nothing more is to be done; start it again whenever you like.",
    "deadline_exceeded": "Try again. If it takes too long again, give your administrator the id of this operation.",
}
_MAKES = frozenset({"vm.create", "vm.clone"})  # where they fail there is no machine to go to
_ELSE = "Try again. If it fails in the same way, give your administrator the id of this operation."
_RESCUE = "When it is mended, “Go on” does what is left, and “Undo again” takes back what was done."


@dataclass(frozen=True)
class StepView:
    """A line of the stepper. `state`: waiting running done failed undone; `seconds` where it began and ended."""

    title: str
    state: str
    detail: str
    percent: int
    seconds: float | None


@dataclass(frozen=True)
class Part:
    """Something that an operation goes over, with what became of it; `state_url` is "" where nothing did yet."""

    name: str
    url: str
    word: str
    look: str
    state_url: str


# By kind, the parts of an operation that has any. The apps add what they know of at start.
parts_of: dict[str, Callable[[Operation], Sequence[Part]]] = {}


@dataclass(frozen=True)
class OperationRow:
    """An operation in a list."""

    id: UUID
    title: str
    state: str
    word: str
    look: str
    url: str
    actor: str
    source: str
    created_at: datetime
    finished_at: datetime | None
    waiting_for: str
    detail: str
    is_active: bool
    needs_attention: bool


@dataclass(frozen=True)
class OperationView(OperationRow):
    """An operation on a page of its own, with its steps. `cancelled_late_at`: when that was asked for, in vain."""

    kind: str
    percent: int
    steps: Sequence[StepView]
    parts: Sequence[Part]
    undone: Sequence[str]
    elapsed: float | None
    advice: str
    retry_url: str
    retry_label: str
    target_name: str
    target_url: str
    fragment_url: str
    cancel_url: str
    cancel_reason: str
    unwind_url: str
    go_on_url: str
    is_cancelling: bool
    cancelled_late_at: datetime | None


def row(operation: Operation) -> OperationRow:
    return OperationRow(**_row_fields(operation))


def view(actor: Actor, operation: Operation, steps: Sequence[OperationStep], slug: str) -> OperationView:
    """`slug` is the tenant's, "" for the provider's own operations."""
    reason = operations.why_no_cancel(actor, operation)
    failed = operation.state in (State.FAILED, State.CANCELLED, State.STUCK)
    return OperationView(
        **_row_fields(operation),
        kind=operation.kind,
        percent=operations.progress(operation, steps),
        steps=[_step(step, _error(operation, "detail")) for step in steps],
        parts=parts_of[operation.kind](operation) if operation.kind in parts_of else (),
        undone=[step.title for step in steps if step.state == StepState.UNDONE],
        elapsed=_elapsed(operation),
        advice=_advice(actor, operation) if failed else "",
        retry_url=_retry_url(operation, slug) if failed and not operation.needs_attention else "",
        retry_label="Try again" if operation.kind in _MAKES else f"To {operation.target_name}",
        target_name=operation.target_name,
        target_url="" if failed and operation.kind in _MAKES else target_url(operation, slug),
        fragment_url=reverse("operation-fragment", args=[operation.pk]),
        cancel_url="" if reason else reverse("operation-cancel", args=[operation.pk]),
        cancel_reason=reason if operation.is_active else "",
        unwind_url=_rescue_url(actor, operation, "operation-unwind"),
        go_on_url=_rescue_url(actor, operation, "operation-retry"),
        is_cancelling=operation.is_active and operation.cancel_requested_at is not None,
        cancelled_late_at=operation.cancel_requested_at if operation.state == State.SUCCEEDED else None,
    )


def _advice(actor: Actor, operation: Operation) -> str:
    if operation.needs_attention and actor.can(Permission.HOST_WRITE):
        return (
            f"The log of the workers has the cause, by the request id {operation.request_id or operation.pk}. {_RESCUE}"
        )
    return _ADVICE.get(_error(operation, "code"), _ELSE)


def target_url(operation: Operation, slug: str) -> str:
    if operation.target_type == "vm" and slug:
        return reverse("vm-detail", args=[slug, operation.target_id])
    if operation.target_type == "image" and slug:
        return reverse("image-detail", args=[slug, operation.target_id])
    if operation.target_type == "volume" and slug:
        return reverse("volume-detail", args=[slug, operation.target_id])
    if operation.target_type == "storagepool":
        return reverse("storage")
    if operation.target_type == "drift":
        return reverse("drift-list")
    if operation.target_type == "cluster":
        return reverse("cluster-list")
    if operation.target_type == "host":
        return reverse("host-detail", args=[operation.target_name])
    return ""


def _row_fields(operation: Operation) -> dict[str, Any]:
    state = operation.told_state
    return {
        "id": operation.pk,
        "title": operation.title,
        "state": str(state),
        "word": WORDS[state],
        "look": LOOKS[state],
        "url": reverse("operation-detail", args=[operation.pk]),
        "actor": operation.actor,
        "source": operation.source,
        "created_at": operation.created_at,
        "finished_at": operation.finished_at,
        "waiting_for": _waiting_for(operation),
        "detail": _error(operation, "detail"),
        "is_active": operation.is_active,
        "needs_attention": operation.needs_attention,
    }


def _step(step: OperationStep, error: str) -> StepView:
    seconds = None
    if step.started_at and step.finished_at:
        seconds = max((step.finished_at - step.started_at).total_seconds(), 0.0)
    return StepView(step.title, step.state, _step_detail(step, error), round(step.progress * 100), seconds)


def _step_detail(step: OperationStep, error: str) -> str:
    """Copying the disk: `1.2 GiB of 4 GiB, 38 s left`. The journal keeps the beginning of a long error: here is all."""
    detail = error if step.state == StepState.FAILED and text.is_beginning(step.detail, error) else step.detail
    moved = step.amount.words(step.bytes_per_second) if step.amount else ""
    return " · ".join(filter(None, (detail, moved)))


def _elapsed(operation: Operation) -> float | None:
    if operation.started_at is None:
        return None
    return ((operation.finished_at or timezone.now()) - operation.started_at).total_seconds()


def _waiting_for(operation: Operation) -> str:
    """What it waits for, and until when; undoing never gives up."""
    if not operation.is_active or not operation.waiting_for or operation.state != State.QUEUED:
        return operation.waiting_for if operation.is_active else ""
    return f"{operation.waiting_for}; it gives up {presentation.wait(operation.deadline_at)}"


def _error(operation: Operation, key: str) -> str:
    return str((operation.error or {}).get(key, ""))


def _retry_url(operation: Operation, slug: str) -> str:
    """A create starts over from its form, with the same choices; a clone from its source's."""
    if operation.kind == "vm.create" and slug:
        params = {name: operation.params[name] for name in ("image", "flavor") if name in operation.params}
        choices = {"name": operation.target_name, **params}
        return f"{reverse('vm-create', args=[slug])}?{urlencode(choices)}"
    if operation.kind == "vm.clone" and slug:
        return reverse("vm-settings", args=[slug, operation.params["source"]]) + "#clone"
    return "" if operation.is_active else target_url(operation, slug)


def _rescue_url(actor: Actor, operation: Operation, name: str) -> str:
    may = operation.needs_attention and actor.can(Permission.HOST_WRITE)
    return reverse(name, args=[operation.pk]) if may else ""
