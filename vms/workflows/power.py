"""One step each, and a look at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

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
from vms.states import Action
from vms.workflows.common import driver_of, machine, observe_now, settle_desired_power

STOP_TIMEOUT_SECONDS = 60
# A guest that is still booting misses the power key, so it is pressed again at each look.
LOOK_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 3.0


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
    waited = (timezone.now() - context.begun_at).total_seconds()
    if waited >= STOP_TIMEOUT_SECONDS:
        raise StepFailed(
            "guest_did_not_stop",
            f"The guest did not power off within {STOP_TIMEOUT_SECONDS} s. Look at its console, or force it off.",
        )
    context.progress(waited / STOP_TIMEOUT_SECONDS, f"Waiting for the guest to power off: {waited:.0f} s")
    raise LookAgain(LOOK_AGAIN_SECONDS, f"the guest to power off ({waited:.0f} s of {STOP_TIMEOUT_SECONDS} s)")


def _is_off(context: StepContext) -> bool:
    vm = machine(context.operation)
    try:
        driver_of(context, vm).wait_for(vm.pk, [PowerState.STOPPED, PowerState.CRASHED], deadline=LOOK_SECONDS)
    except errors.Timeout:
        return False
    return True


def reach(context: StepContext) -> Output:
    """Waits for a host that is away, before anything is asked of it."""
    observe_now(context)
    return None


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


def _workflow(action: Action, *steps: Step) -> Workflow:
    return register(
        Workflow(
            kind=f"vm.{action}",
            permission=Permission.VM_WRITE,
            steps=steps,
            succeeded=_nothing_to_settle,
            unwound=settle_desired_power,
            translate=translate,
        )
    )


WORKFLOWS = {
    Action.START: _workflow(Action.START, Step("start", "Starting it", start)),
    Action.STOP: _workflow(Action.STOP, Step("stop", "Asking the guest to power off", stop)),
    # whether a guest was restarted cannot be seen from outside, so nothing is asked twice
    Action.REBOOT: _workflow(
        Action.REBOOT,
        Step("reach", "Reaching the host", reach),
        Step("reboot", "Asking the guest to restart", reboot, repeatable=False),
    ),
    Action.FORCE_OFF: _workflow(Action.FORCE_OFF, Step("force-off", "Cutting the power", force_off)),
    Action.PAUSE: _workflow(Action.PAUSE, Step("pause", "Pausing it", pause)),
    Action.RESUME: _workflow(Action.RESUME, Step("resume", "Resuming it", resume)),
}
