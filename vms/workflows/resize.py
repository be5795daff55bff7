"""Resize of a machine that is off. The disk grows last, because that cannot be undone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hosts import reserve
from hosts.errors import translate
from portal.core.units import GIB
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, Workflow, register
from portal.quotas import ledger
from portal.tenancy.roles import Permission
from vms.design import domain_spec
from vms.models import VM
from vms.workflows.common import driver_of, machine, note_size, take_disk_size


def _define(context: StepContext, size: Mapping[str, int], promised: Mapping[str, Any]) -> None:
    vm = machine(context.operation)
    vm.tuning = promised.get("tuning", vm.tuning)
    spec = domain_spec(vm, vm.host, context.fence)
    driver_of(context, vm).define(replace(spec, vcpus=size["vcpus"], memory_mib=size["memory_mib"]))


def define_new(context: StepContext) -> Output:
    _define(context, context.params["after"], _promised(context.params))
    return None


def _promised(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is promised from now on; one that began before there were classes changes nothing of it."""
    found: Mapping[str, Any] = params.get("promised", {})
    return found


def define_old(context: StepContext) -> None:
    _define(context, context.params["before"], {})


def grow_disk(context: StepContext) -> Output:
    vm = machine(context.operation)
    layer = vm.boot_volume.layer
    driver_of(context, vm).grow_volume(layer.pool.name, layer.file_name, context.params["after"]["disk_gib"] * GIB)
    return None


def keep_grown_disk(context: StepContext) -> None:
    """A disk cannot shrink: where it has grown, the machine has that size from now on."""
    vm = machine(context.operation)
    layer = vm.boot_volume.layer
    disk = driver_of(context, vm).volume(layer.pool.name, layer.file_name)
    if disk is not None and disk.capacity_bytes // GIB > layer.size_gib:
        take_disk_size(vm, disk.capacity_bytes // GIB)


def take(operation: Operation, outputs: Mapping[str, Any]) -> None:
    size = operation.params["after"]
    rows = VM.objects.unscoped("workflow").filter(pk=operation.target_id)
    rows.update(flavor_id=operation.params["flavor"], **size, **_promised(operation.params))
    take_disk_size(machine(operation), size["disk_gib"])
    _settle(operation)
    note_size(operation, operation.params["before"])


def give_back(operation: Operation) -> None:
    _settle(operation)
    if machine(operation).wanted != operation.params["before"]:
        note_size(operation, operation.params["before"])


def _settle(operation: Operation) -> None:
    """From the larger of both sizes down to the one it has; that never exceeds anything."""
    vm = machine(operation)
    ledger.hold(vm.tenant_id, vm.pk, {"vms": 1, **vm.wanted}, {})
    reserve.settle(vm.host_id, vm.pk, vm.wanted_of_host)


RESIZE = register(
    Workflow(
        kind="vm.resize",
        doing="resizing",
        done="resized",
        permission=Permission.VM_WRITE,
        steps=(
            Step("define", "Defining the new size", define_new, undo=define_old),
            Step("disk", "Growing the disk", grow_disk, undo=keep_grown_disk),
        ),
        succeeded=take,
        unwound=give_back,
        translate=translate,
    )
)
