"""Adopt: what a machine has become on its host is wanted from now on: its power state, its size, its disk's size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hosts import reserve
from hosts.driver.base import Driver
from hosts.driver.types import DomainFacts
from hosts.errors import translate
from portal.core.units import GIB
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, StepFailed, Workflow, register
from portal.quotas import ledger
from portal.tenancy.roles import Permission
from vms.design import domain_spec
from vms.models import VM
from vms.workflows.common import driver_of, machine, note_size, observe_now, take_disk_size


def look(context: StepContext) -> Output:
    """It must still be what the administrator saw."""
    vm = machine(context.operation)
    driver, params = driver_of(context, vm), context.params
    found = driver.inventory([], vm.host.network_name)
    domain = next((each for each in found.domains if each.uuid == vm.pk), None)
    if domain is None or not _is_same(driver, vm, domain, params):
        raise StepFailed("changed_since", "The machine has changed since. Look at the drift again.")
    return None


def _is_same(driver: Driver, vm: VM, domain: DomainFacts, params: Mapping[str, Any]) -> bool:
    size = params["size"]
    if not size:
        return bool(domain.power == params["power"])
    if "disk_gib" in size:
        layer = vm.boot_volume.layer
        disk = driver.volume(layer.pool.name, layer.file_name)
        return disk is not None and disk.capacity_bytes == size["disk_gib"] * GIB
    return bool(size == {"vcpus": domain.vcpus, "memory_mib": domain.memory_mib})


def define(context: StepContext) -> Output:
    """Of another size, a definition of our own with that: what else was changed by hand does not stay."""
    size = context.params["size"]
    if size and "disk_gib" not in size:
        vm = machine(context.operation)
        driver_of(context, vm).define(replace(domain_spec(vm, vm.host, context.fence), **size))
    observe_now(context)
    return None


def take(operation: Operation, outputs: Mapping[str, Any]) -> None:
    rows = VM.objects.unscoped("workflow").filter(pk=operation.target_id)
    if size := operation.params["size"]:
        before = machine(operation).wanted
        rows.update(**size)
        if "disk_gib" in size:
            take_disk_size(machine(operation), size["disk_gib"])
        note_size(operation, before)
    else:
        rows.update(desired_power=operation.params["power"])
    settle(operation)


def settle(operation: Operation) -> None:
    """What was held for the larger of both sizes comes down to the one it has."""
    vm = machine(operation)
    ledger.hold(vm.tenant_id, vm.pk, {"vms": 1, **vm.wanted}, {})
    reserve.settle(vm.host_id, vm.pk, vm.wanted_of_host)


ADOPT = register(
    Workflow(
        kind="vm.adopt",
        doing="adopting",
        done="adopted",
        permission=Permission.HOST_WRITE,
        steps=(
            Step("look", "Looking at the machine on its host", look),
            Step("define", "Taking over what it has become", define),
        ),
        succeeded=take,
        unwound=settle,
        translate=translate,
    )
)
