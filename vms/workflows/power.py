"""One step each, and a look at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hosts.driver import errors
from hosts.driver.types import PowerState
from hosts.errors import translate
from portal.operations.models import Operation
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
from portal.tenancy.roles import Permission
from vms.design import domain_spec
from vms.models import VM, Power
from vms.states import Action
from vms.workflows.common import driver_of, machine, observe_now

# What each leaves the machine in; a restart leaves its owner's wish as it is.
AIMS = {
    Action.START: Power.RUNNING,
    Action.STOP: Power.STOPPED,
    Action.FORCE_OFF: Power.STOPPED,
    Action.PAUSE: Power.PAUSED,
    Action.RESUME: Power.RUNNING,
}
# A guest that is still booting misses the power key, so it is pressed again at each look. Looks are counted, and not
# the time, so that neither a host that was away nor a clock that was set counts against the guest.
LOOK_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 3.0
LOOKS = 8
STOP_TIMEOUT_SECONDS = round(LOOKS * (LOOK_SECONDS + LOOK_AGAIN_SECONDS))


def reach(context: StepContext) -> Output:
    """Waits for a host that is away, before anything is asked of it; until then a cancel has nothing to undo."""
    observe_now(context)
    return None


def start(context: StepContext) -> Output:
    """Defined anew from the database first, so that what was lost or changed on the host does not matter."""
    vm = machine(context.operation)
    if not vm.host.is_ready:
        raise TransientError("the host to be able to run machines: its check found no way")
    state = driver_of(context, vm).state(vm.pk)
    if state is None or state.power in (PowerState.STOPPED, PowerState.CRASHED):
        driver_of(context, vm).define(domain_spec(vm, vm.host, context.fence))
    driver_of(context, vm).start(vm.pk)
    observe_now(context)
    return None


def stop(context: StepContext) -> Output:
    """Presses the power key at each look; between looks no worker is kept."""
    vm = machine(context.operation)
    driver_of(context, vm).shutdown(vm.pk)
    if _is_off(context):
        observe_now(context)
        return None
    looks = context.kept.get("looks", 0) + 1
    if looks >= LOOKS:
        raise StepFailed(
            "guest_did_not_stop",
            f"The guest did not power off within {STOP_TIMEOUT_SECONDS} s. Look at its console, or force it off.",
        )
    waited = round(looks * (LOOK_SECONDS + LOOK_AGAIN_SECONDS))
    context.progress(looks / LOOKS, f"Waiting for the guest to power off: {waited} s")
    words = f"the guest to power off ({waited} s of {STOP_TIMEOUT_SECONDS} s)"
    raise LookAgain(LOOK_AGAIN_SECONDS, words, {"looks": looks})


def _is_off(context: StepContext) -> bool:
    vm = machine(context.operation)
    try:
        driver_of(context, vm).wait_for(vm.pk, [PowerState.STOPPED, PowerState.CRASHED], deadline=LOOK_SECONDS)
    except errors.Timeout:
        return False
    return True


def reboot(context: StepContext) -> Output:
    vm = machine(context.operation)
    driver_of(context, vm).reboot(vm.pk)
    return None


def force_off(context: StepContext) -> Output:
    vm = machine(context.operation)
    driver_of(context, vm).destroy(vm.pk)
    observe_now(context)
    return None


def pause(context: StepContext) -> Output:
    vm = machine(context.operation)
    driver_of(context, vm).suspend(vm.pk)
    observe_now(context)
    return None


def resume(context: StepContext) -> Output:
    vm = machine(context.operation)
    driver_of(context, vm).resume(vm.pk)
    observe_now(context)
    return None


def _nothing_to_settle(operation: Operation, outputs: Mapping[str, Any]) -> None:
    return None


def settle_wish(operation: Operation) -> None:
    """Its owner's wish is as before, unless the aim was reached all the same: `observe_now` has just looked."""
    vm = machine(operation)
    before = operation.params.get("before", vm.observed_power)  # journals of version 1 know no wish
    wanted = vm.observed_power if vm.observed_power == operation.params.get("after") else before
    VM.objects.unscoped("workflow").filter(pk=vm.pk).update(desired_power=wanted)


def _workflow(action: Action, doing: str, done: str, step: Step) -> Workflow:
    return register(
        Workflow(
            kind=f"vm.{action}",
            doing=doing,
            done=done,
            version=2,
            continues=frozenset({1}),
            permission=Permission.VM_WRITE,
            steps=(Step("reach", "Reaching the host", reach), replace(step, undo=observe_now)),
            succeeded=_nothing_to_settle,
            unwound=settle_wish,
            translate=translate,
        )
    )


# Whether a guest was restarted cannot be seen from outside, so nothing is asked twice.
_REBOOT = Step("reboot", "Asking the guest to restart", reboot, repeatable=False)
WORKFLOWS = {
    Action.START: _workflow(Action.START, "starting", "started", Step("start", "Starting it", start)),
    Action.STOP: _workflow(Action.STOP, "stopping", "stopped", Step("stop", "Asking the guest to power off", stop)),
    Action.REBOOT: _workflow(Action.REBOOT, "rebooting", "restarted", _REBOOT),
    Action.FORCE_OFF: _workflow(
        Action.FORCE_OFF, "powering off", "forced off", Step("force-off", "Cutting the power", force_off)
    ),
    Action.PAUSE: _workflow(Action.PAUSE, "pausing", "paused", Step("pause", "Pausing it", pause)),
    Action.RESUME: _workflow(Action.RESUME, "resuming", "resumed", Step("resume", "Resuming it", resume)),
}
