"""Resize of a machine that is off. The disk grows last, because that cannot be undone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hosts import placement
from hosts.errors import translate
from portal.core.units import GIB
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, Workflow, register
from portal.quotas import ledger
from portal.tenancy.roles import Permission
from vms.design import domain_spec
from vms.models import VM, Layer, Volume
from vms.workflows.common import driver_of, machine, note_size


def _define(context: StepContext, size: Mapping[str, int]) -> None:
    vm = machine(context.operation)
    spec = domain_spec(vm, vm.host, context.fence)
    driver_of(context, vm).define(replace(spec, vcpus=size["vcpus"], memory_mib=size["memory_mib"]))


def define_new(context: StepContext) -> Output:
    _define(context, context.params["after"])
    return None


def define_old(context: StepContext) -> None:
    _define(context, context.params["before"])


def grow_disk(context: StepContext) -> Output:
    vm = machine(context.operation)
    layer = vm.boot_volume.layer
    driver_of(context, vm).grow_volume(layer.pool.name, layer.file_name, context.params["after"]["disk_gib"] * GIB)
    return None


def take(operation: Operation, outputs: Mapping[str, Any]) -> None:
    size = operation.params["after"]
    rows = VM.objects.unscoped("workflow").filter(pk=operation.target_id)
    rows.update(flavor_id=operation.params["flavor"], **size)
    boot = rows.get().boot_volume
    Volume.objects.unscoped("workflow").filter(pk=boot.pk).update(size_gib=size["disk_gib"])
    Layer.objects.filter(pk=boot.layer_id).update(size_gib=size["disk_gib"])
    _settle(operation, size)
    note_size(operation, operation.params["before"])


def give_back(operation: Operation) -> None:
    _settle(operation, operation.params["before"])


def _settle(operation: Operation, size: Mapping[str, int]) -> None:
    """From the larger of both sizes down to the one it has; that never exceeds anything."""
    vm = machine(operation)
    ledger.hold(vm.tenant_id, vm.pk, {"vms": 1, **size}, {})
    placement.resize(vm.host, vm.pk, size)


RESIZE = register(
    Workflow(
        kind="vm.resize",
        doing="resizing",
        done="resized",
        permission=Permission.VM_WRITE,
        steps=(
            Step("define", "Defining the new size", define_new, undo=define_old),
            Step("disk", "Growing the disk", grow_disk),
        ),
        succeeded=take,
        unwound=give_back,
        translate=translate,
    )
)
