"""Repair: make a machine on its host what the database says. Also how machines come back when their host does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hosts import reserve
from hosts.driver.types import PowerState
from hosts.errors import translate
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, StepFailed, Workflow, register
from portal.quotas import ledger
from portal.quotas.models import Claim
from portal.tenancy.roles import Permission
from vms.models import Layer, Power
from vms.workflows import create, power
from vms.workflows.common import driver_of, machine, observe_now

_OFF = (PowerState.STOPPED, PowerState.CRASHED)


def look_for_disks(context: StepContext) -> Output:
    """What was on a disk cannot be made anew, so without one nothing is. Also whether the machine is defined now."""
    vm = machine(context.operation)
    driver = driver_of(context, vm)
    for pool in {volume.layer.pool.name for volume in vm.volumes.select_related("layer__pool")}:
        driver.refresh_pool(pool)  # the host that made them may have been another one
    for volume in vm.volumes.select_related("layer__pool"):
        layer: Layer | None = volume.layer
        while layer is not None:
            if driver.volume(layer.pool.name, layer.file_name) is None:
                words = f"Its disk {layer.file_name} is not in the pool {layer.pool.name}. Nothing was changed."
                raise StepFailed("disk_missing", words)
            layer = layer.parent
    return {"was_defined": driver.state(vm.pk) is not None}


def undefine_what_was_made(context: StepContext) -> None:
    """Only a definition of this operation's own, and not under a guest that runs after all."""
    vm = machine(context.operation)
    driver = driver_of(context, vm)
    state = driver.state(vm.pk)
    if not context.outputs.get("was_defined", True) and state is not None and state.power in _OFF:
        driver.undefine(vm.pk)
    observe_now(context)


def make_missing_seed(context: StepContext) -> Output:
    """And bring the image back that it has as a CD."""
    vm = machine(context.operation)
    if vm.image.is_iso:
        create.bring_image(context)
    if driver_of(context, vm).volume(vm.host.pool_name, vm.seed_volume) is None:
        create.make_seed(context)
    return None


def bring_power(context: StepContext) -> Output:
    """On, off or paused, as its owner wants it."""
    vm = machine(context.operation)
    driver = driver_of(context, vm)
    state = driver.state(vm.pk)
    now = state.power if state else PowerState.STOPPED
    if vm.wanted_power == Power.STOPPED:
        if now is PowerState.PAUSED:  # a paused guest does not hear the power key
            driver.resume(vm.pk)
        if now not in _OFF:
            power.stop(context)
    else:
        driver.start(vm.pk)
        if vm.desired_power == Power.PAUSED and now is not PowerState.PAUSED:
            driver.suspend(vm.pk)
        if vm.desired_power == Power.RUNNING and now is PowerState.PAUSED:
            driver.resume(vm.pk)
    observe_now(context)
    return None


def settle_claims(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """What it is, it holds, of its tenant and its host alone. It exists, so no limit is asked."""
    vm = machine(operation)
    ledger.hold(vm.tenant_id, vm.pk, {"vms": 1, **vm.wanted}, {})
    reserve.settle(vm.host_id, vm.pk, vm.wanted_of_host)
    Claim.objects.filter(holder_id=vm.pk).exclude(account_id__in=[vm.tenant_id, vm.host_id]).delete()


def keep_the_wish(operation: Operation) -> None:
    """What its owner wants stays wanted, and what helps was kept. It is not left defined where it was not before."""


REPAIR = register(
    Workflow(
        kind="vm.repair",
        doing="repairing",
        done="repaired",
        version=2,
        continues=frozenset({1}),
        permission=Permission.HOST_WRITE,
        steps=(
            Step("disks", "Looking for its disks", look_for_disks),
            Step("seed", "Looking for the first-boot settings", make_missing_seed),
            Step("address", "Reserving the address", create.reserve_address),
            Step("define", "Defining the machine", create.define, undo=undefine_what_was_made),
            Step("power", "Bringing it to the power state that is wanted", bring_power, weight=3),
        ),
        succeeded=settle_claims,
        unwound=keep_the_wish,
        translate=translate,
    )
)
