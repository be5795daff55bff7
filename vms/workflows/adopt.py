"""Adopt: what a machine has become on its host is wanted from now on. Its power state, or its size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hosts.errors import translate
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, StepFailed, Workflow, register
from portal.quotas import ledger
from portal.tenancy.roles import Permission
from vms.design import domain_spec
from vms.models import VM
from vms.workflows.common import driver_of, machine, note_size, observe_now


def look(context: StepContext) -> Output:
    """It must still be what the administrator saw."""
    vm = machine(context.operation)
    driver, params = driver_of(context, vm), context.params
    found = driver.inventory([], vm.host.network_name)
    domain = next((each for each in found.domains if each.uuid == vm.pk), None)
    there = domain and {"vcpus": domain.vcpus, "memory_mib": domain.memory_mib}
    is_same = domain and (there == params["size"] if params["size"] else domain.power == params["power"])
    if not is_same:
        raise StepFailed("changed_since", "The machine has changed since. Look at the drift again.")
    return None


def define(context: StepContext) -> Output:
    """A definition of our own with that size: what else was changed by hand does not stay."""
    if size := context.params["size"]:
        vm = machine(context.operation)
        driver_of(context, vm).define(replace(domain_spec(vm, vm.host, context.fence), **size))
    observe_now(context)
    return None


def take(operation: Operation, outputs: Mapping[str, Any]) -> None:
    rows = VM.objects.unscoped("workflow").filter(pk=operation.target_id)
    if size := operation.params["size"]:
        before = machine(operation).wanted
        rows.update(**size)
        note_size(operation, before)
    else:
        rows.update(desired_power=operation.params["power"])
    settle(operation)


def settle(operation: Operation) -> None:
    """What was held for the larger of both sizes comes down to the one it has."""
    vm = machine(operation)
    ledger.hold(vm.tenant_id, vm.pk, {"vms": 1, **vm.wanted}, {})
    ledger.hold(vm.host_id, vm.pk, vm.wanted, {})


ADOPT = register(
    Workflow(
        kind="vm.adopt",
        doing="adopting",
        done="adopted",
        permission=Permission.HOST_WRITE,
        steps=(
            Step("look", "Looking at the machine on its host", look),
            Step("define", "Defining it with its new size", define),
        ),
        succeeded=take,
        unwound=settle,
        translate=translate,
    )
)
