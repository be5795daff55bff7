"""Accepting, cancelling and retrying long work."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db import DatabaseError, IntegrityError, models, transaction
from django.db.models import Max, Q
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from portal.core.errors import Conflict
from portal.events import live, log
from portal.operations import lanes
from portal.operations.models import NOTHING_MOVED, Operation, OperationHold, OperationStep
from portal.operations.selectors import active_on_each, keeps_others_out
from portal.operations.states import ACTIVE, State, StepState
from portal.operations.workflow import StepFailed, Workflow, workflow_of
from portal.tenancy import gate
from portal.tenancy.gate import SYSTEM, Actor
from portal.tenancy.roles import Permission

logger = logging.getLogger(__name__)


def actor_of(operation: Operation) -> Actor:
    """Whoever asked for it, for the log: without a role, which may have been taken away since."""
    return Actor(operation.user, source=operation.source, request_id=operation.request_id)


def acting_for(operation: Operation, permission: Permission) -> Actor:
    """Whoever asked for it, with the roles that they have now. Raises StepFailed where these give that no more."""
    actor = actor_of(operation)
    if operation.source == SYSTEM.source:
        actor = replace(SYSTEM, request_id=operation.request_id)
    elif operation.user is not None and operation.user.is_active:
        actor = gate.actor_for(operation.user, source=operation.source, request_id=operation.request_id)
    if not actor.can(permission):
        raise StepFailed("forbidden", f"{operation.actor} asked for this, and may not do it any more.")
    return actor


@transaction.atomic
def submit(
    workflow: Workflow,
    *,
    actor: Actor,
    target: models.Model,
    title: str,
    params: Mapping[str, Any] | None = None,
    lane: UUID | None = None,
    after: Mapping[str, Any] | None = None,
    holds: Iterable[models.Model] = (),
    shares: Iterable[models.Model] = (),
    displaces: bool = False,
) -> Operation:
    """Write the operation and its journal in the caller's transaction, and ring after it commits.

    `lane` is the id of the host that it keeps busy; `after` what is asked for, for the log; `holds` what is kept from
    other operations beside the target, and `shares` what it only reads, so that others may read it as well.
    Conflict ("operation_in_progress", with the running operation's id) where the target or one of them is busy, unless
    with what gives way (Workflow.gives_way): that is cancelled, and this one begins when it has ended. `displaces`:
    whatever works on the target gives way, but for one of the same kind; what is stuck is undone.

    The rows of all of these are locked here until the transaction ends, so of two that want the same the later one sees
    the earlier. A caller that judged a row's state has locked it before that (vms.services.guard).
    """
    target_type, holds, shares = _type_of(target), list(holds), list(shares)
    _lock([target, *holds, *shares])
    for wanted in [target, *holds, *shares]:
        if not (displaces and wanted is target and _displace(workflow, _type_of(wanted), wanted.pk)):
            _take_place(workflow, _type_of(wanted), wanted.pk, is_reader=wanted in shares)
    operation = Operation(
        kind=workflow.kind,
        version=workflow.version,
        lane=str(lane or ""),
        fence=_last_fence([target.pk, *(held.pk for held in holds)]),
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
    _write_holds(operation, holds, shares)
    _write_journal(operation, workflow)
    log.record(f"{workflow.kind}.requested", actor=actor, target=target, operation_id=operation.pk, after=after)
    live.tell(operation.tenant_id, f"operation:{operation.pk}", "operations", *operation.topics)
    transaction.on_commit(lambda: ring(operation.pk))
    return operation


def _write_holds(operation: Operation, holds: list[models.Model], shares: list[models.Model]) -> None:
    OperationHold.objects.bulk_create(
        OperationHold(operation=operation, object_type=_type_of(each), object_id=each.pk, is_shared=is_shared)
        for is_shared, those in ((False, holds), (True, shares))
        for each in those
    )


def _write_journal(operation: Operation, workflow: Workflow) -> None:
    OperationStep.objects.bulk_create(
        OperationStep(operation=operation, position=i, name=step.name, title=step.title, weight=step.weight)
        for i, step in enumerate(workflow.steps)
    )


def _lock(rows: Iterable[models.Model]) -> None:
    """Each kind in one query, in the order of ids, so that no two wait for each other."""
    wanted: dict[type[models.Model], list[UUID]] = {}
    for row in rows:
        wanted.setdefault(type(row), []).append(row.pk)
    for model, ids in sorted(wanted.items(), key=lambda item: item[0]._meta.label):
        locked = model._base_manager.filter(pk__in=ids).order_by("pk").select_for_update(no_key=True)
        list(locked.values_list("pk"))


def _type_of(target: models.Model) -> str:
    return target._meta.model_name or ""


def _last_fence(object_ids: list[UUID]) -> int:
    """Fences rise from operation to operation, so that what one wrote on a host tells it from all earlier ones.

    Also of those that worked on one of these beside their target: attaching a disk defines the machine anew.
    """
    held = OperationHold.objects.filter(object_id__in=object_ids).values("operation_id")
    rows = Operation.objects.unscoped("the caller holds the target")
    found = rows.filter(Q(target_id__in=object_ids) | Q(pk__in=held)).aggregate(last=Max("fence"))
    return found["last"] or 0


def active_on(target_type: str, target_id: UUID) -> Operation | None:
    """The operation that works on it, as its target or beside that, if any."""
    return active_on_each([target_id]).get(target_id)


def _take_place(workflow: Workflow, target_type: str, target_id: UUID, is_reader: bool) -> None:
    running = active_on(target_type, target_id)
    if running is None or workflow.gives_way or keeps_others_out(running) or running.state == State.STUCK:
        _refuse_if_busy(target_type, target_id, is_reader)
    else:
        _ask_to_give_way(running)


def _displace(workflow: Workflow, target_type: str, target_id: UUID) -> bool:
    """Whether what works on it gives way. Raises Conflict where that is stuck and cannot be undone."""
    running = active_on(target_type, target_id)
    if running is None or running.kind == workflow.kind:
        return False
    if running.state == State.STUCK:
        unwind(actor=SYSTEM, operation_id=running.pk)
    _ask_to_give_way(running)
    return True


def _ask_to_give_way(running: Operation) -> None:
    """What it holds it only shares from now on; who else comes for that waits for its end as well (lease.claim)."""
    rows = Operation.objects.unscoped("engine").filter(pk=running.pk)
    rows.update(gives_way=True)
    asked = {"cancel_requested_at": Coalesce("cancel_requested_at", Now()), "not_before": None}
    rows.filter(state__in=[State.QUEUED, State.RUNNING]).update(**asked)
    running.holds.update(is_shared=True)
    transaction.on_commit(lambda: ring(running.pk))


def refuse_if_at_work(host_id: UUID) -> None:
    """Raises Conflict ("operation_in_progress") where anything works on that host, or keeps it busy as its lane.

    The caller holds what everybody takes who begins something there.
    """
    in_its_lane = Operation.objects.unscoped("told to the staff").filter(state__in=ACTIVE, lane=str(host_id))
    if (found := active_on("host", host_id) or in_its_lane.first()) is not None:
        raise _busy_with(found)


def _refuse_if_busy(target_type: str, target_id: UUID, is_reader: bool = False) -> None:
    running = active_on(target_type, target_id)
    if running is not None and not (is_reader and running.only_reads):
        raise _busy_with(running)


def _busy_with(running: Operation) -> Conflict:
    return Conflict(
        f'"{running.title}" is still under way; wait for it or cancel it.',
        code="operation_in_progress",
        extra={"operation": str(running.pk)},
    )


def ring(operation_id: UUID, after_seconds: float = 0) -> None:
    """Wake a worker, now or soon. A broker that is away costs seconds, never the work: the reaper rings again."""
    from portal.operations.tasks import run_operation

    try:
        run_operation.apply_async((str(operation_id),), retry=False, countdown=after_seconds or None)
    except Exception as error:  # kombu raises whatever its transport does
        logger.warning("bell not rung for %s: %s", operation_id, error)


@transaction.atomic
def cancel(*, actor: Actor, operation: Operation) -> Operation:
    """Ask for the end at the next safe point. One that was never begun unwinds at once when a worker picks it up."""
    workflow = _known(operation, "not_cancellable")
    actor.require(workflow.permission, operation.tenant_id)
    if not workflow.cancellable:
        raise Conflict("This operation cannot be cancelled once it was accepted.", code="not_cancellable")
    changed = (
        Operation.objects.unscoped("the caller fetched it through the gate")
        .filter(pk=operation.pk, state__in=[State.QUEUED, State.RUNNING], cancel_requested_at=None)
        .update(cancel_requested_at=timezone.now(), not_before=None)
    )
    operation.refresh_from_db()
    if not changed and operation.state in (State.UNWINDING, State.STUCK):
        raise Conflict("It is being undone already.", code="operation_undoing")
    if not changed and not operation.is_active:
        raise Conflict("It has ended already.", code="operation_finished")
    if changed:
        log.record("operation.cancel-requested", actor=actor, target=operation, operation_id=operation.pk)
        transaction.on_commit(lambda: ring(operation.pk))
    return operation


def ring_next(lane: str) -> None:
    """A slot of the lane is free: wake those that have waited longest for it."""
    try:
        for waiting in lanes.next_for_slot(lane):
            rows = Operation.objects.unscoped("engine").filter(pk=waiting.pk, waits_for_slot=True)
            if rows.update(not_before=None, waits_for_slot=False):
                ring(waiting.pk)
    except DatabaseError as error:  # the reaper rings in some seconds
        logger.warning("nobody woken in lane %s: %s", lane, error)


@transaction.atomic
def unwind(*, actor: Actor, operation_id: UUID) -> Operation:
    """Let a stuck operation try its undo once more. Conflict where it has begun what cannot be undone."""
    operation = gate.get(Operation, actor, Permission.HOST_WRITE, operation_id)
    if _is_past_return(operation, _known(operation, "not_undoable")):
        raise Conflict("It has begun what cannot be undone. Retry it.", code="not_undoable")
    return _wake_stuck(actor, operation_id, "operation.unwind-requested", state=State.UNWINDING)


@transaction.atomic
def retry(*, actor: Actor, operation_id: UUID) -> Operation:
    """Let a stuck operation go forward again, from its first step: an undo may have got half-way at any of them.

    Steps look before they leap; those that cannot are left alone where they are done. One that has begun what cannot
    be undone goes on from there.
    """
    operation = gate.get(Operation, actor, Permission.HOST_WRITE, operation_id)
    workflow = _known(operation, "not_retryable")
    if not workflow.goes_on_with(operation.version):
        raise Conflict("This version of Berth can only undo it.", code="not_retryable")
    fresh = {"state": State.QUEUED, "error": None, "cancel_requested_at": None}
    _hold_again(operation)
    deadline = timezone.now() + workflow.deadline
    operation = _wake_stuck(actor, operation_id, "operation.retry-requested", deadline_at=deadline, **fresh)
    if _is_past_return(operation, workflow):
        return operation
    once = [step.name for step in workflow.steps if not step.repeatable]
    again = operation.steps.exclude(state=StepState.DONE, name__in=once)
    again.update(state=StepState.WAITING, detail="", kept={}, started_at=None, finished_at=None, **NOTHING_MOVED)
    return operation


def _hold_again(operation: Operation) -> None:
    """What it has let go by now (Step.lets_go), if nobody else works on that."""
    let_go = operation.holds.filter(is_active=False)
    _lock_held(let_go)
    for hold in let_go:
        _refuse_if_busy(hold.object_type, hold.object_id, hold.is_shared)
    let_go.update(is_active=True)


def _lock_held(holds: Iterable[OperationHold]) -> None:
    """Their rows, as whoever submits an operation on one of them does."""
    models_by_name = {model._meta.model_name: model for model in apps.get_models()}
    _lock(models_by_name[hold.object_type](pk=hold.object_id) for hold in holds)


def _is_past_return(operation: Operation, workflow: Workflow) -> bool:
    return workflow.is_past_return(dict(operation.steps.values_list("name", "state")))


def _known(operation: Operation, code: str) -> Workflow:
    try:
        return workflow_of(operation.kind)
    except KeyError:
        raise Conflict("This version of Berth does not know its kind.", code=code) from None


def _wake_stuck(actor: Actor, operation_id: UUID, event: str, **fields: Any) -> Operation:
    operation = gate.get(Operation, actor, Permission.HOST_WRITE, operation_id)
    rows = Operation.objects.unscoped("fetched through the gate").filter(pk=operation.pk, state=State.STUCK)
    if not rows.update(
        not_before=None, attempts=0, failed_undos=0, lease_until=None, lease_owner="", waiting_for="", **fields
    ):
        raise Conflict("Only an operation that is stuck can be retried or unwound by hand.", code="not_stuck")
    log.record(event, actor=actor, target=operation, operation_id=operation.pk)
    transaction.on_commit(lambda: ring(operation.pk))
    operation.refresh_from_db()
    return operation
