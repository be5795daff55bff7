"""Clone: a create whose disk is a copy of another machine's, which is off and held meanwhile."""

from __future__ import annotations

import time
from datetime import timedelta

from hosts.driver.types import CopyFacts
from hosts.errors import translate
from portal.core.units import size
from portal.operations.workflow import LookAgain, Output, Step, StepContext, Workflow, register
from portal.tenancy.roles import Permission
from vms.models import VM, Layer
from vms.workflows import create
from vms.workflows.common import driver_of, machine

# A small disk is copied while one waits; a large one keeps no worker meanwhile.
LOOKS, LOOK_EVERY_SECONDS, LOOK_AGAIN_SECONDS = 10, 0.2, 2.0


def copy_disk(context: StepContext) -> Output:
    """The host copies by itself; this looks how far it is."""
    for _ in range(LOOKS):
        copy = _copy(context)
        if copy.is_complete:
            return None
        words = f"{size(copy.done_bytes)} of {size(copy.total_bytes)} copied"
        context.progress(copy.done_bytes / copy.total_bytes, words)
        time.sleep(LOOK_EVERY_SECONDS)
    raise LookAgain(LOOK_AGAIN_SECONDS, "the host, which copies the disk")


def _copy(context: StepContext) -> CopyFacts:
    vm = machine(context.operation)
    layer, source = vm.boot_volume.layer, _source_layer(context)
    driver = driver_of(context, vm)
    return driver.copy_volume(layer.pk, context.fence, layer.pool.name, source.file_name, layer.file_name)


def delete_copy(context: StepContext) -> None:
    vm = machine(context.operation)
    driver_of(context, vm).end_copy(vm.boot_volume.layer_id)
    create.delete_disk(context)


def _source_layer(context: StepContext) -> Layer:
    """The source is held, so it is there."""
    return VM.objects.unscoped("workflow").get(pk=context.params["source"]).boot_volume.layer


CLONE = register(
    Workflow(
        kind="vm.clone",
        doing="cloning",
        done="made as a clone",
        permission=Permission.VM_WRITE,
        steps=(
            Step("copy", "Copying the disk", copy_disk, undo=delete_copy, weight=6),
            Step("seed", "Writing the first-boot settings", create.make_seed, undo=create.delete_seed),
            Step("address", "Reserving the address", create.reserve_address),
            Step("define", "Defining the machine", create.define, undo=create.undefine),
            Step("start", "Starting it", create.start, undo=create.cut_power, weight=3),
        ),
        succeeded=create.finish,
        unwound=create.forget,
        translate=translate,
        deadline=timedelta(hours=12),
    )
)
