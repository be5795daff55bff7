"""Failover: a host is fenced off, and only when it is certain that it is off do its machines start elsewhere.

And its way back: whatever was started elsewhere meanwhile is removed from it, before it may run anything again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from hosts import fence_trust, fencing, suspicion
from hosts.choice import Constraint
from hosts.connections import driver_for, returning_driver
from hosts.driver.errors import DriverError, Timeout, Unreachable
from hosts.errors import translate
from hosts.failure import Power as HostPower
from hosts.models import Failover, FenceAgent, Host, HostState, Standing
from portal.core.errors import Conflict
from portal.events import live, log
from portal.operations import lanes
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.selectors import active_on_each
from portal.operations.states import ACTIVE, State
from portal.operations.workflow import (
    LookAgain,
    Output,
    Step,
    StepContext,
    StepFailed,
    Workflow,
    register,
)
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM
from portal.tenancy.roles import Permission
from vms import loose, takeover
from vms.models import VM, Lifecycle, Power
from vms.workflows import purge, recover

FENCE_TRIES, FENCE_AGAIN_SECONDS = 3, 5.0
# A machine that something is still under way with is waited for so long; after that the clock looks for it.
LOOKS, LOOK_AGAIN_SECONDS = 150, 2.0
UNFENCED = "fencing_failed"


def _host(operation: Operation) -> Host:
    return Host.objects.select_related("cluster").get(pk=operation.target_id)


def fence(context: StepContext) -> Output:
    """Until there is a proof, or none to be had."""
    return {"proof": _proven(context)}


def _proven(context: StepContext) -> str:
    try:
        return _proof(context)
    except fencing.FencingError as error:
        tries = context.kept.get("tries", 0) + 1
        if tries >= FENCE_TRIES:
            by_hand = "" if context.params.get("confirmed_by") else " Confirm by hand that it is off."
            raise StepFailed(UNFENCED, f"{error} Nothing was started elsewhere.{by_hand}") from error
        raise LookAgain(FENCE_AGAIN_SECONDS, "another try to fence it off", {"tries": tries}) from error


def _proof(context: StepContext) -> str:
    """What cuts the power says afterwards that it is off, and is known to be right, or somebody vouches; and the host
    does not answer.

    Raises FencingError wherever there is none. What nobody asked for leaves a host alone that answers again.
    """
    host = Host.objects.select_related("fence_agent", "cluster").get(pk=context.operation.target_id)
    by, agent = context.params.get("confirmed_by"), getattr(host, "fence_agent", None)
    is_automatic = context.params.get("is_automatic")
    if is_automatic and _answers(host):
        raise StepFailed("host_answers", "It answers again. Nothing was started elsewhere.")
    if by:
        _contradict(agent)
    else:
        _cut(context, host, is_spared=bool(is_automatic) and host.cluster.failover != Failover.EAGER)
    if _answers(host):
        if agent is not None and not by:
            fence_trust.note(agent, HostPower.OFF, fencing.fingerprint(agent))
        raise fencing.FencingError("It answers, so it is not off. Is its fence agent that of another machine?")
    return f"{by} has confirmed that it is off" if by else f"{agent} says that it is off"


def _contradict(agent: FenceAgent | None) -> None:
    """Somebody vouches that it is off. An agent that can tell nothing has nothing against that."""
    try:
        is_on = agent is not None and fencing.power(agent) is HostPower.ON
    except fencing.FencingError:
        return
    if is_on:
        raise fencing.FencingError("Its fence agent says that it is on. Cut its power, or remove the agent first.")


def _cut(context: StepContext, host: Host, *, is_spared: bool) -> None:
    """`is_spared`: nobody has asked for it, and it may be but out of reach while its power is on."""
    agent = getattr(host, "fence_agent", None)
    if agent is None:
        raise fencing.FencingError("The host has no fence agent, so nothing tells that it is off.")
    context.progress(0.1, "Asking its fence agent")
    if _known_power(host, agent) is not HostPower.OFF:
        if is_spared:
            raise fencing.FencingError("Its fence agent says that it is on, so it may be out of reach alone.")
        context.progress(0.3, "Cutting its power")
        fencing.cut_power(agent)
        context.progress(0.7, "Looking whether it is off")
        if fencing.power(agent) is not HostPower.OFF:
            raise fencing.FencingError("Its fence agent has cut the power, and says that it is still on.")


def _known_power(host: Host, agent: FenceAgent) -> HostPower:
    """From an agent that is known to be right, if only since now, while the host still answers."""
    by, power = fencing.fingerprint(agent), fencing.power(agent)
    if fence_trust.standing(agent) is Standing.UNKNOWN and fence_trust.responds(host):
        fence_trust.note(agent, power, by)
    if why_not := fence_trust.why_no_proof(agent):
        raise fencing.FencingError(why_not)
    return power


def _answers(host: Host) -> bool:
    """By libvirt, if only to refuse, or by its address."""
    try:
        driver_for(host).list_domains()
    except (Unreachable, Timeout):
        return suspicion.answers(host) is True
    except DriverError:
        return True
    return True


def mark(context: StepContext) -> Output:
    """A proof is good at its moment alone: a worker that died since may have left the host time to start again."""
    if not _host(context.operation).has_failed:
        proof = _proven(context)
        context.stop_if_asked()
        _take_out_of_service(context.operation, proof)
    _note_what_it_took_down(context.operation)
    lanes.host_answers(str(context.operation.target_id))  # what waits for it need wait no longer: it ends
    return None


@transaction.atomic
def _take_out_of_service(operation: Operation, proof: str) -> None:
    """From here on nothing is asked of it."""
    ledger.lock(operation.target_id)  # what is being placed there is there before its state changes
    host, now = _host(operation), timezone.now()
    fresh = {"state": HostState.FAILED, "failed_at": now, "suspected_at": None, "suspicion": ""}
    Host.objects.filter(pk=host.pk).update(**fresh)
    log.record(
        "host.fenced", actor=operations.actor_of(operation), target=host, operation_id=operation.pk, detail=proof
    )
    live.tell(None, f"host:{host.pk}")


@transaction.atomic
def _note_what_it_took_down(operation: Operation) -> None:
    """Its machines are off, and told so, once. Not under the host's account: everybody locks a machine before that."""
    rows = VM.objects.unscoped("failover").filter(host=operation.target_id).exclude(lifecycle=Lifecycle.BUILDING)
    machines = list(rows.order_by("pk").select_for_update())
    were_on = [vm for vm in machines if vm.observed_power != Power.STOPPED]
    lost = [log.Change(vm, {"power": vm.observed_power}, {"power": Power.STOPPED}) for vm in were_on]
    log.record_all("vm.host-failed", actor=SYSTEM, changes=lost)
    rows.update(observed_power=Power.STOPPED, is_missing=False, observed_since=timezone.now())
    _wake_stuck(operation.target_id, machines)


def _wake_stuck(host_id: UUID, machines: Iterable[VM]) -> None:
    """Operations that would keep them from being brought up elsewhere: there is nothing left to undo on their host."""
    theirs = Q(lane=str(host_id)) | Q(target_id__in=[vm.pk for vm in machines])
    rows = Operation.objects.unscoped("failover").filter(theirs, state=State.STUCK)
    for id in list(rows.values_list("pk", flat=True)):
        with suppress(Conflict):  # it is past return
            operations.unwind(actor=SYSTEM, operation_id=id)


def start_elsewhere(context: StepContext) -> Output:
    """By their turn, each by an operation of its own. What waits for room is left to the clock, and so is what could
    not be brought up on any host that was tried."""
    host, looks = _host(context.operation), context.kept.get("looks", 0)
    recover.recover_all(host)
    recover.recover_again()
    states = recover.states_since(host, context.operation.created_at)
    left = [vm for vm, _ in recover.movable(host)]
    total, under_way = len(states.keys() | {vm.pk for vm in left}), sum(state in ACTIVE for state in states.values())
    moved = sum(state == State.SUCCEEDED for state in states.values())
    is_busy = bool(active_on_each(vm.pk for vm in left))
    if (under_way or is_busy) and looks < LOOKS:
        context.progress(moved / max(total, 1), f"{moved} of {total} machines are elsewhere")
        raise LookAgain(LOOK_AGAIN_SECONDS, keep={"looks": looks + 1})
    failed = [id for id, state in states.items() if state in (State.FAILED, State.CANCELLED)]
    names = VM.objects.unscoped("failover").filter(pk__in=failed).order_by("name").values_list("name", flat=True)
    return {"moved": moved, "waiting": len(left), "refused": _refused(host), "failed": list(names)}


def _refused(host: Host) -> dict[str, int]:
    """How many of those that others reach none of them takes for another reason than room: by what none does."""
    found = [each for each in takeover.of_hosts([host]).values() if not each.is_local]
    return dict(Counter(each.words for each in found if each.constraint not in (None, Constraint.CAPACITY)))


def told(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """What became of its machines, each of which has its own story in its own log. Loose volumes are others' now."""
    parts = [f"{outputs['moved']} of its machines were brought up elsewhere"]
    if waiting := outputs["waiting"]:
        parts.append(f"{waiting} wait for room")
    for words, count in outputs.get("refused", {}).items():
        parts.append(f"{count} stay off, for none of the others {words}")
    if failed := outputs["failed"]:
        parts.append(f"{', '.join(failed)} could not be brought up")
    host = _host(operation)
    loose.leave(host)
    log.record("host.failed-over", actor=SYSTEM, target=host, operation_id=operation.pk, detail="; ".join(parts))


def still_there(operation: Operation) -> None:
    """Nothing of it was changed. Why there is no proof, an administrator sees at the host."""
    host, code = _host(operation), (operation.error or {}).get("code")
    if code == UNFENCED and not host.has_failed:
        log.record("host.not-fenced", actor=SYSTEM, target=host, operation_id=operation.pk, error=operation.error)


def clear(context: StepContext) -> Output:
    """Guests of machines that are elsewhere now: whatever they do here, they must not. Those that are its own stay.

    And what is left of those that were deleted meanwhile.
    """
    host = _host(context.operation)
    driver = returning_driver(host, context.check)
    cleared = 0
    for domain in driver.list_domains():
        row = VM.objects.unscoped("failover").filter(pk=domain.uuid).only("host_id").first()
        if row is not None and row.host_id != host.pk:
            driver.destroy(domain.uuid)
            driver.undefine(domain.uuid)
            cleared += 1
    left = purge.left_on(host)
    for vm_id, files in left.items():
        driver.destroy(vm_id)
        driver.undefine(vm_id)
        for pool, name in files:
            driver.delete_volume(pool, name)
    return {"cleared": cleared, "deleted": [str(vm_id) for vm_id in left]}


def let_in(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """It may run what it still has; new machines only when somebody has looked at it.

    Where a machine was deleted while it was cleared, it is cleared once more.
    """
    ledger.lock(operation.target_id)
    if {str(vm_id) for vm_id in purge.left_on(_host(operation))} - set(outputs.get("deleted", ())):
        return
    rows = Host.objects.filter(pk=operation.target_id, state=HostState.FAILED)
    if rows.update(state=HostState.CORDONED, failed_at=None):
        words = f"{outputs['cleared']} machines that run elsewhere were removed"
        log.record(
            "host.back",
            actor=operations.actor_of(operation),
            target=_host(operation),
            operation_id=operation.pk,
            detail=words,
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
            Step("mark", "Taking it out of service", mark, seals=True),
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
        deadline=timedelta(minutes=5),  # it may be dead again, and keeps its machines waiting until this has ended
    )
)
