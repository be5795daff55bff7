"""Roll: the hosts of a cluster are drained one after the other, each once the one before it is back in service.

What was done to a host in between (an upgrade, a repair) is its administrator's; the roll waits for "uncordon".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from hosts.models import Cluster, Host, HostState
from portal.core.errors import Conflict, NotFound
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.states import State
from portal.operations.workflow import LookAgain, Output, Step, StepContext, StepFailed, Workflow, register
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms.maintenance.drain import AT_ONCE, DRAIN, check_concurrency, drain_host

LOOK_AGAIN_SECONDS = 5.0


@transaction.atomic
def roll_cluster(*, actor: Actor, cluster: Cluster, concurrency: int = AT_ONCE) -> Operation:
    """Drain each host that is in service now, by name. Raises Invalid, or Conflict where it would have nobody left."""
    actor.require(Permission.HOST_WRITE)
    check_concurrency(concurrency)
    hosts = list(cluster.hosts.filter(state=HostState.ENABLED).order_by("name"))
    if len(hosts) < 2:
        raise Conflict("At least two hosts of the cluster must be enabled: one takes the other's machines.")
    params = {"concurrency": concurrency, "hosts": [str(host.pk) for host in hosts]}
    return operations.submit(ROLL, actor=actor, target=cluster, title=f"Roll over {cluster.name}", params=params)


def roll(context: StepContext) -> Output:
    """By the rows alone: the newest drain of each host since the roll was accepted."""
    ids: Sequence[str] = context.params["hosts"]
    hosts = Host.objects.in_bulk(ids)
    left = [hosts[UUID(id)] for id in ids if UUID(id) in hosts]
    for done, host in enumerate(left):
        last = _drain_of(context.operation, host)
        if last is None or not _is_back(last, host):
            _tell(context, done, left, f"; {host.name} is next")
            _look_after(context, host, last)
    _tell(context, len(left), left)
    return None


def _tell(context: StepContext, done: int, left: Sequence[Host], then: str = "") -> None:
    """How many are done, of those that are still hosts."""
    gone = len(context.params["hosts"]) - len(left)
    removed = f" ({gone} removed meanwhile)" if gone else ""
    context.progress(done / max(len(left), 1), f"{done} of {len(left)} hosts are done{removed}{then}")


def _drain_of(operation: Operation, host: Host) -> Operation | None:
    rows = Operation.objects.unscoped("workflow").filter(kind=DRAIN.kind, target_id=host.pk)
    return rows.filter(created_at__gte=operation.created_at).first()


def _is_back(last: Operation, host: Host) -> bool:
    return last.state == State.SUCCEEDED and host.state == HostState.ENABLED


def _look_after(context: StepContext, host: Host, last: Operation | None) -> None:
    """It is not drained and back yet, so this does not return."""
    if last is None:
        _drain(context, host)
    elif last.is_active:
        raise LookAgain(LOOK_AGAIN_SECONDS)
    elif last.state != State.SUCCEEDED:
        detail = (last.error or {}).get("detail", "")
        raise StepFailed("drain_failed", f"{host.name} could not be drained, so no more were begun. {detail}")
    elif host.has_failed:
        raise LookAgain(LOOK_AGAIN_SECONDS, f"{host.name} has failed; once it is back, uncordon it to go on")
    else:
        raise LookAgain(LOOK_AGAIN_SECONDS, f"{host.name} is empty and may be worked on; uncordon it to go on")


def _drain(context: StepContext, host: Host) -> None:
    context.check()
    actor = operations.acting_for(context.operation, Permission.HOST_WRITE)
    try:
        drain_host(actor=actor, host=host, concurrency=context.params["concurrency"])
    except Conflict as refusal:
        if refusal.code != "operation_in_progress":
            raise StepFailed("drain_failed", f"{host.name} cannot be drained: {refusal.detail}") from refusal
        raise LookAgain(LOOK_AGAIN_SECONDS, f"{host.name}: {refusal.detail}") from refusal
    except NotFound:  # it was removed at this very moment, and is passed over by the next look
        pass
    raise LookAgain(LOOK_AGAIN_SECONDS)


def rolled(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """All hosts are back in service: nothing is left to settle."""


def stopped(operation: Operation) -> None:
    """A drain that it began goes on by itself, and is cancelled by itself."""


ROLL = register(
    Workflow(
        kind="cluster.roll",
        doing="being rolled over",
        done="rolled over",
        permission=Permission.HOST_WRITE,
        steps=(Step("roll", "Draining one host after the other", roll),),
        succeeded=rolled,
        unwound=stopped,
        deadline=timedelta(days=90),
    )
)
