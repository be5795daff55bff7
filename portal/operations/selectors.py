"""Reads of operations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count, F, Q, QuerySet

from portal.operations.models import Operation, OperationHold, OperationStep
from portal.operations.states import ACTIVE, PUBLIC, State, StepState
from portal.operations.workflow import Workflow, workflow_of
from portal.tenancy import gate
from portal.tenancy.gate import SYSTEM, Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission


def operations(
    actor: Actor, *, tenant: Tenant | None = None, status: str = "", target: UUID | None = None
) -> QuerySet[Operation]:
    """Newest first: one tenant's, or all the actor may see; `status` is a public one.

    Those of a `target` also are those that held it, as a clone holds its source.
    """
    rows = Operation.objects.for_actor(actor)
    if tenant is not None:
        rows = rows.filter(tenant=tenant)
    if target is not None:
        held = OperationHold.objects.filter(object_id=target).values("operation")
        rows = rows.filter(Q(target_id=target) | Q(pk__in=held))
    return rows.filter(_with_status(status)) if status else rows


def _with_status(status: str) -> Q:
    """As Operation.told_state has it."""
    goes_on = Q(state=State.QUEUED, started_at__isnull=False, waiting_for="")
    states = Q(state__in=[state for state in State if PUBLIC[state] == status])
    return states | goes_on if status == PUBLIC[State.RUNNING] else states & ~goes_on


def operation(actor: Actor, id: UUID | str, permission: Permission = Permission.OPERATION_READ) -> Operation:
    return gate.get(Operation, actor, permission, id, related=("tenant",))


def last_operation(actor: Actor, target_id: UUID, *, is_asked_for: bool = False) -> Operation | None:
    """The newest one that worked on it, as its target or beside that; it may be gone by now.

    `is_asked_for`: by somebody, and not by Berth itself.
    """
    rows = operations(actor, target=target_id)
    return (rows.exclude(source=SYSTEM.source) if is_asked_for else rows).first()


def active_on_each(object_ids: Iterable[UUID]) -> dict[UUID, Operation]:
    """What works on each of these now, as on its target or beside that. One query.

    Of several that read the same one is told; `only_reads` of it says that there are only such. What gives way is told
    where nobody has taken its place.
    """
    ids = set(object_ids)
    rows = Operation.objects.unscoped("the caller holds them").filter(state__in=ACTIVE)
    is_held = Q(holds__object_id__in=ids, holds__is_active=True)
    found: dict[UUID, Operation] = {}
    for operation in (
        rows.filter(Q(target_id__in=ids) | is_held)
        .order_by("-gives_way", "-created_at")
        .annotate(held_id=F("holds__object_id"), is_held=F("holds__is_active"), is_shared=F("holds__is_shared"))
    ):
        if operation.held_id in ids and operation.is_held:
            operation.only_reads = operation.is_shared
            found[operation.held_id] = operation
        if operation.target_id in ids:
            found[operation.target_id] = operation
    return found


def keeps_others_out(operation: Operation) -> bool:
    workflow = _workflow(operation)
    return workflow is None or not workflow.gives_way


def in_the_way(operation: Operation | None) -> str:
    """The title of what keeps others from the object that it works on; "" where nothing does."""
    return operation.title if operation is not None and keeps_others_out(operation) else ""


@dataclass(frozen=True)
class Counts:
    """How many operations are under way, and how many are stuck and wait for an administrator."""

    active: int
    stuck: int


def counts(actor: Actor, tenant: Tenant | None) -> Counts:
    """In the tenant; for the provider's staff in all. One query."""
    rows = operations(actor, tenant=None if actor.is_provider else tenant).filter(state__in=ACTIVE).order_by()
    stuck = Count("pk", filter=Q(state=State.STUCK))
    found = rows.aggregate(all=Count("pk"), stuck=stuck)
    return Counts(active=found["all"] - found["stuck"], stuck=found["stuck"])


def is_active(operation_id: UUID) -> bool:
    return Operation.objects.unscoped("the caller fetched it").filter(pk=operation_id, state__in=ACTIVE).exists()


def progress(operation: Operation, steps: Iterable[OperationStep]) -> int:
    """How much of the steps' weight is behind it, in per cent; 100 only when it succeeded."""
    if operation.state == State.SUCCEEDED:
        return 100
    weights = [(step.weight, 1.0 if step.state == StepState.DONE else step.progress) for step in steps]
    total = sum(weight for weight, _ in weights) or 1
    return min(99, round(100 * sum(weight * done for weight, done in weights) / total))


def why_no_cancel(actor: Actor, operation: Operation) -> str:
    """Why this actor cannot cancel it now; "" where they can."""
    workflow = _workflow(operation)
    if workflow is None or not workflow.cancellable:
        return "It cannot be cancelled once it was accepted."
    if not actor.can(workflow.permission, operation.tenant_id):
        return actor.why_not(workflow.permission, operation.tenant_id)
    if operation.cancel_requested_at is not None:
        return "It is being cancelled."
    if operation.state not in (State.QUEUED, State.RUNNING):
        return "It is too late to cancel it."
    return ""


def _workflow(operation: Operation) -> Workflow | None:
    try:
        return workflow_of(operation.kind)
    except KeyError:  # of a newer version that ran here before
        return None
