"""Publish: the disk of a machine becomes an image. Copied flat on its host, brought home, and taken in.

One that is off is read as it is. Else the disk is frozen first, as for a clone (vms.workflows.layers): the guest goes
on with a layer on top, which is merged later. The machine is let go of when its bytes are home; from then on they go
the way of every file from outside (vms.workflows.image_import).
"""

from __future__ import annotations

import os
from datetime import timedelta

from hosts.connections import fenced_driver
from hosts.driver.base import Driver
from hosts.driver.types import CopyFacts
from hosts.errors import translate as translate_host
from hosts.models import Host
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, StepFailed, Workflow, register
from portal.tenancy.roles import Permission
from vms import intake
from vms.models import VM, Layer
from vms.workflows import image_import, layers
from vms.workflows.common import driver_of
from vms.workflows.watch import Watch


def _source(context: StepContext) -> VM:
    """It is held, so it is there, until it is let go of."""
    rows = VM.objects.unscoped("workflow").select_related("host", "image", "tenant")
    found = rows.filter(pk=context.params["source"]).first()
    if found is None:
        raise StepFailed("source_gone", "The machine that was to be published is gone.")
    return found


def _place(context: StepContext) -> tuple[Driver, str]:
    """Of the copy, and the name of its pool there. Journals of version 1 only name the machine, and hold it."""
    if "host" in context.params:
        host = Host.objects.get(pk=context.params["host"])
        return fenced_driver(host, context.check), str(context.params["pool"])
    vm = _source(context)
    return driver_of(context, vm), vm.boot_volume.layer.pool.name


def _frozen(context: StepContext) -> Layer:
    if "from" in context.params:
        return Layer.objects.select_related("pool").get(pk=context.params["from"])
    return _source(context).boot_volume.layer


def _tops(context: StepContext) -> list[Layer]:
    rows = Layer.objects.select_related("pool", "parent")
    return list(rows.filter(pk__in=context.params.get("tops", ())))


def _copy_name(operation: Operation) -> str:
    return f"{operation.target_id}.qcow2"


def freeze_disk(context: StepContext) -> Output:
    """No effect where the machine is off."""
    if tops := _tops(context):
        layers.freeze(context, _source(context), tops)
    return None


def unfreeze_disk(context: StepContext) -> None:
    """Not once the machine was let go of: it has its layers for good."""
    if context.operation.holds.filter(is_active=True).exists():
        layers.unfreeze(context, _source(context), _tops(context))


def copy_disk(context: StepContext) -> Output:
    """The host copies by itself; this looks how far it is."""
    Watch(context).until_complete(lambda: _copy(context))
    return None


def _copy(context: StepContext) -> CopyFacts:
    (driver, pool), operation = _place(context), context.operation
    source = _frozen(context).file_name
    return driver.copy_volume(operation.target_id, context.fence, pool, source, _copy_name(operation))


def delete_copy(context: StepContext) -> None:
    driver, pool = _place(context)
    driver.end_copy(context.operation.target_id)
    driver.delete_volume(pool, _copy_name(context.operation))


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
    id, name = context.operation.target_id, _copy_name(context.operation)
    driver, pool = _place(context)
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
        version=2,
        continues=frozenset({1}),
        permission=Permission.IMAGE_WRITE,
        steps=(
            Step("freeze", "Freezing the disk", freeze_disk, undo=unfreeze_disk),
            Step("copy", "Copying the disk on its host", copy_disk, undo=delete_copy, weight=4),
            Step("bring", "Bringing it into the portal", bring_home, undo=image_import.discard, weight=4, lets_go=True),
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
