"""Failover: a host is fenced off, and only when it is certain that it is off do its machines start elsewhere.

And its way back: whatever was started elsewhere meanwhile is removed from it, before it may run anything again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from hosts import fencing, suspicion
from hosts.connections import driver_for, returning_driver
from hosts.driver.errors import DriverError
from hosts.errors import translate
from hosts.models import FenceAgent, Host, HostState
from portal.events import live, log
from portal.operations import lanes
from portal.operations.models import Operation
from portal.operations.states import ACTIVE
from portal.operations.workflow import (
    LookAgain,
    Output,
    Step,
    StepContext,
    StepFailed,
    TransientError,
    Workflow,
    register,
)
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM, Actor
from portal.tenancy.roles import Permission
from vms import storage
from vms.models import VM, Lifecycle, Power
from vms.workflows import recover

FENCE_TRIES, FENCE_AGAIN_SECONDS = 3, 5.0
# A machine that something is still under way with is waited for so long; after that the clock looks for it.
LOOKS, LOOK_AGAIN_SECONDS = 150, 2.0
UNFENCED = "fencing_failed"


def _host(operation: Operation) -> Host:
    return Host.objects.select_related("cluster").get(pk=operation.target_id)


def _actor(operation: Operation) -> Actor:
    return Actor(operation.user, source=operation.source, request_id=operation.request_id)


def fence(context: StepContext) -> Output:
    """Until there is a proof, or none to be had."""
    try:
        return {"proof": _proof(context)}
    except fencing.FencingError as error:
        tries = context.kept.get("tries", 0) + 1
        if tries >= FENCE_TRIES:
            words = f"{error} Nothing was started elsewhere. Confirm by hand that it is off."
            raise StepFailed(UNFENCED, words) from error
        raise LookAgain(FENCE_AGAIN_SECONDS, "another try to fence it off", {"tries": tries}) from error


def _proof(context: StepContext) -> str:
    """What cuts the power says afterwards that it is off, or somebody vouches; and the host does not answer.

    Raises FencingError wherever there is none.
    """
    host = Host.objects.select_related("fence_agent").get(pk=context.operation.target_id)
    by, agent = context.params.get("confirmed_by"), getattr(host, "fence_agent", None)
    if not by:
        _cut(context, agent)
    if _answers(host):
        raise fencing.FencingError("It answers, so it is not off. Is its fence agent that of another machine?")
    return f"{by} has confirmed that it is off" if by else f"{agent} says that it is off"


def _cut(context: StepContext, agent: FenceAgent | None) -> None:
    if agent is None:
        raise fencing.FencingError("The host has no fence agent, so nothing tells that it is off.")
    context.progress(0.1, "Asking its fence agent")
    if fencing.power(agent) is not fencing.Power.OFF:
        context.progress(0.3, "Cutting its power")
        fencing.cut_power(agent)
        context.progress(0.7, "Looking whether it is off")
        if fencing.power(agent) is not fencing.Power.OFF:
            raise fencing.FencingError("Its fence agent has cut the power, and says that it is still on.")


def _answers(host: Host) -> bool:
    """By libvirt or by its address."""
    try:
        driver_for(host).list_domains()
    except DriverError:
        return suspicion.answers(host) is True
    return True


def mark(context: StepContext) -> Output:
    """A proof is good at its moment alone: a worker that died since may have left the host time to start again."""
    if not _host(context.operation).has_failed:
        try:
            proof = _proof(context)
        except fencing.FencingError as error:
            raise TransientError(f"a proof that the host is off: {error}") from error
        context.check()
        _take_out_of_service(context.operation, proof)
    lanes.host_answers(str(context.operation.target_id))  # what waits for it need wait no longer: it ends
    return None


@transaction.atomic
def _take_out_of_service(operation: Operation, proof: str) -> None:
    """From here on nothing is asked of it. Its machines are off, and told so."""
    ledger.lock(operation.target_id)  # what is being placed there is there before its state changes
    host, now = _host(operation), timezone.now()
    fresh = {"state": HostState.FAILED, "failed_at": now, "suspected_at": None, "suspicion": ""}
    Host.objects.filter(pk=host.pk).update(**fresh)
    log.record("host.fenced", actor=_actor(operation), target=host, operation_id=operation.pk, detail=proof)
    machines = VM.objects.unscoped("failover").filter(host=host).exclude(lifecycle=Lifecycle.BUILDING)
    were_on = machines.exclude(observed_power=Power.STOPPED)
    lost = [log.Change(vm, {"power": vm.observed_power}, {"power": Power.STOPPED}) for vm in were_on]
    log.record_all("vm.host-failed", actor=SYSTEM, changes=lost)
    machines.update(observed_power=Power.STOPPED, observed_since=now)
    live.tell(None, f"host:{host.pk}")


def start_elsewhere(context: StepContext) -> Output:
    """By their turn, each by an operation of its own. What waits for room is left to the clock."""
    host, looks = _host(context.operation), context.kept.get("looks", 0)
    recover.recover_all(host)
    recoveries = Operation.objects.unscoped("failover").filter(
        kind=recover.RECOVER.kind, params__from=str(host.pk), created_at__gte=context.operation.created_at
    )
    states = list(recoveries.values_list("state", flat=True))
    left = [vm for vm in recover.machines_of(host) if storage.elsewhere(vm)]
    under_way = sum(state in ACTIVE for state in states)
    is_busy = any(recover.is_busy(vm) for vm in left)
    if (under_way or is_busy) and looks < LOOKS:
        words = f"{len(states) - under_way} of {len(states) + len(left)} machines are elsewhere"
        context.progress((len(states) - under_way) / max(len(states) + len(left), 1), words)
        raise LookAgain(LOOK_AGAIN_SECONDS, keep={"looks": looks + 1})
    return {"moved": len(states), "waiting": len(left)}


def told(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """The host's own story is told: those of its machines are in their own logs."""


def still_there(operation: Operation) -> None:
    """Nothing of it was changed. Why there is no proof, an administrator sees at the host."""
    code = (operation.error or {}).get("code")
    if code == UNFENCED:
        host = _host(operation)
        log.record("host.not-fenced", actor=SYSTEM, target=host, operation_id=operation.pk, error=operation.error)


def clear(context: StepContext) -> Output:
    """Guests of machines that are elsewhere now: whatever they do here, they must not. Those that are its own stay."""
    host = _host(context.operation)
    driver = returning_driver(host, context.check)
    cleared = 0
    for domain in driver.list_domains():
        row = VM.objects.unscoped("failover").filter(pk=domain.uuid).only("host_id").first()
        if row is not None and row.host_id != host.pk:
            driver.destroy(domain.uuid)
            driver.undefine(domain.uuid)
            cleared += 1
    return {"cleared": cleared}


def let_in(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """It may run what it still has; new machines only when somebody has looked at it."""
    ledger.lock(operation.target_id)
    rows = Host.objects.filter(pk=operation.target_id, state=HostState.FAILED)
    if rows.update(state=HostState.CORDONED, failed_at=None):
        words = f"{outputs['cleared']} machines that run elsewhere were removed"
        log.record(
            "host.back", actor=_actor(operation), target=_host(operation), operation_id=operation.pk, detail=words
        )


def stays_out(operation: Operation) -> None:
    """It is looked at again when it answers."""


FAILOVER = register(
    Workflow(
        kind="host.failover",
        doing="being fenced off",
        done="fenced off",
        permission=Permission.HOST_WRITE,
        steps=(
            Step("fence", "Fencing it off", fence),
            Step("mark", "Taking it out of service", mark, is_final=True),
            Step("machines", "Starting its machines elsewhere", start_elsewhere, weight=5),
        ),
        succeeded=told,
        unwound=still_there,
        translate=translate,
    )
)
RETURN = register(
    Workflow(
        kind=recover.RETURN,
        doing="being cleared",
        done="cleared of what runs elsewhere",
        permission=Permission.HOST_WRITE,
        steps=(Step("clear", "Removing what runs elsewhere by now", clear),),
        succeeded=let_in,
        unwound=stays_out,
        translate=translate,
        deadline=timedelta(minutes=30),
    )
)
