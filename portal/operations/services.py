"""Accepting, cancelling and retrying long work."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import IntegrityError, models, transaction
from django.utils import timezone

from portal.core.errors import Conflict
from portal.events import live, log
from portal.operations.models import Operation, OperationStep
from portal.operations.states import ACTIVE, State
from portal.operations.workflow import Workflow, workflow_of
from portal.tenancy import gate
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission

logger = logging.getLogger(__name__)


def submit(
    workflow: Workflow, *, actor: Actor, target: models.Model, title: str, params: Mapping[str, Any] | None = None
) -> Operation:
    """Write the operation and its journal in the caller's transaction, and ring after it commits.

    Conflict ("operation_in_progress", with the running operation's id) where the target is busy.
    """
    target_type = target._meta.model_name or ""
    _refuse_if_busy(target_type, target.pk)
    operation = Operation(
        kind=workflow.kind,
        title=title[:200],
        tenant_id=getattr(target, "tenant_id", None),
        target_type=target_type,
        target_id=target.pk,
        target_name=getattr(target, "name", str(target))[:100],
        params=dict(params or {}),
        user=actor.user,
        actor=actor.label,
        source=actor.source,
        request_id=actor.request_id,
        deadline_at=timezone.now() + workflow.deadline,
        rung_at=timezone.now(),
    )
    try:
        with transaction.atomic():
            operation.save(force_insert=True)
    except IntegrityError:  # somebody was faster between the look and the leap
        _refuse_if_busy(target_type, target.pk)
        raise
    OperationStep.objects.bulk_create(
        OperationStep(operation=operation, position=i, name=step.name, title=step.title, weight=step.weight)
        for i, step in enumerate(workflow.steps)
    )
    log.record(f"{workflow.kind}.requested", actor=actor, target=target, operation_id=operation.pk)
    live.tell(operation.tenant_id, f"operation:{operation.pk}", "operations")
    transaction.on_commit(lambda: ring(operation.pk))
    return operation


def active_on(target_type: str, target_id: UUID) -> Operation | None:
    """The operation that holds the target, if any."""
    return (
        Operation.objects.unscoped("the caller holds the target")
        .filter(target_type=target_type, target_id=target_id, state__in=ACTIVE)
        .first()
    )


def _refuse_if_busy(target_type: str, target_id: UUID) -> None:
    if running := active_on(target_type, target_id):
        raise Conflict(
            f'"{running.title}" is still under way; wait for it or cancel it.',
            code="operation_in_progress",
            extra={"operation": str(running.pk)},
        )


def ring(operation_id: UUID) -> None:
    """Wake a worker. A broker that is away costs seconds, never the work: the reaper rings again."""
    from portal.operations.tasks import run_operation

    try:
        run_operation.apply_async((str(operation_id),), retry=False)
    except Exception as error:  # kombu raises whatever its transport does
        logger.warning("bell not rung for %s: %s", operation_id, error)


@transaction.atomic
def cancel(*, actor: Actor, operation: Operation) -> Operation:
    """Ask for the end at the next safe point. One that was never begun unwinds at once when a worker picks it up."""
    actor.require(workflow_of(operation.kind).permission, operation.tenant_id)
    if not workflow_of(operation.kind).cancellable:
        raise Conflict("This operation cannot be cancelled once it was accepted.", code="not_cancellable")
    changed = (
        Operation.objects.unscoped("the caller fetched it through the gate")
        .filter(pk=operation.pk, state__in=[State.QUEUED, State.RUNNING], cancel_requested_at=None)
        .update(cancel_requested_at=timezone.now(), not_before=None)
    )
    operation.refresh_from_db()
    if not changed and not (operation.is_active and operation.cancel_requested_at):
        raise Conflict("It has ended already.", code="operation_finished")
    if changed:
        log.record("operation.cancel_requested", actor=actor, target=operation, operation_id=operation.pk)
        transaction.on_commit(lambda: ring(operation.pk))
    return operation


@transaction.atomic
def unwind_again(*, actor: Actor, operation_id: UUID) -> Operation:
    """Let a stuck operation try its undo once more."""
    operation = gate.get(Operation, actor, Permission.HOST_WRITE, operation_id)
    changed = (
        Operation.objects.unscoped("fetched through the gate")
        .filter(pk=operation.pk, state=State.STUCK)
        .update(state=State.UNWINDING, not_before=None, attempts=0, lease_until=None)
    )
    if not changed:
        raise Conflict("Only an operation that is stuck can be unwound again.", code="not_stuck")
    log.record("operation.unwind_requested", actor=actor, target=operation, operation_id=operation.pk)
    transaction.on_commit(lambda: ring(operation.pk))
    operation.refresh_from_db()
    return operation
