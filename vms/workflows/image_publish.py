"""Publish: the disk of a machine that is off becomes an image. Copied flat on its host, brought home, and taken in.

Once it is home it goes the way of every file from outside (vms.workflows.image_import).
"""

from __future__ import annotations

import os
from datetime import timedelta

from hosts.driver.types import CopyFacts
from hosts.errors import translate as translate_host
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, Workflow, register
from portal.tenancy.roles import Permission
from vms import intake
from vms.models import VM, Layer
from vms.workflows import image_import
from vms.workflows.common import driver_of
from vms.workflows.watch import Watch


def _source(context: StepContext) -> VM:
    """It is held, so it is there."""
    rows = VM.objects.unscoped("workflow").select_related("host")
    return rows.get(pk=context.params["source"])


def _copy_name(operation: Operation) -> str:
    return f"{operation.target_id}.qcow2"


def copy_disk(context: StepContext) -> Output:
    """The host copies by itself; this looks how far it is."""
    Watch(context).until_complete(lambda: _copy(context))
    return None


def _copy(context: StepContext) -> CopyFacts:
    vm = _source(context)
    layer: Layer = vm.boot_volume.layer
    operation, driver = context.operation, driver_of(context, vm)
    name = _copy_name(operation)
    return driver.copy_volume(operation.target_id, context.fence, layer.pool.name, layer.file_name, name)


def delete_copy(context: StepContext) -> None:
    vm = _source(context)
    driver = driver_of(context, vm)
    driver.end_copy(context.operation.target_id)
    driver.delete_volume(vm.boot_volume.layer.pool.name, _copy_name(context.operation))


def bring_home(context: StepContext) -> Output:
    """From its beginning where an earlier try was cut off. What came home needs no copy on the host."""
    id = context.operation.target_id
    if not intake.source(id).exists():
        _download(context)
        context.check()
        os.replace(intake.fetching(id), intake.source(id))
    delete_copy(context)
    return None


def _download(context: StepContext) -> None:
    vm, id, name = _source(context), context.operation.target_id, _copy_name(context.operation)
    driver, pool = driver_of(context, vm), vm.boot_volume.layer.pool.name
    volume = driver.volume(pool, name)
    total = volume.allocation_bytes if volume else 1
    image_import.hold(context, image_import.image_of(context.operation), total)
    intake.require_space(total)
    intake.prepare(id)
    with intake.fetching(id).open("wb") as file:
        driver.download(pool, name, file.write, lambda fraction: context.moved(round(total * fraction), total))


PUBLISH = register(
    Workflow(
        kind="image.publish",
        doing="publishing",
        done="published",
        permission=Permission.IMAGE_WRITE,
        steps=(
            Step("copy", "Copying the disk on its host", copy_disk, undo=delete_copy, weight=4),
            Step("bring", "Bringing it into the portal", bring_home, undo=image_import.discard, weight=4),
            Step("inspect", "Inspecting it", image_import.look, weight=2),
            Step("convert", "Converting it", image_import.convert, weight=3),
            Step("store", "Putting it into the store", image_import.store, undo=image_import.take_back, weight=2),
        ),
        succeeded=image_import.settle,
        unwound=image_import.forget,
        translate=lambda error: image_import.translate(error) or translate_host(error),
        deadline=timedelta(hours=24),
    )
)
