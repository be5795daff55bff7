"""Deleting an image goes forward only: no machine can be made of it from the moment that this was accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from hosts.connections import fenced_driver
from hosts.driver.errors import DriverError
from hosts.errors import translate
from portal.operations.models import Operation
from portal.operations.services import active_on
from portal.operations.workflow import Output, Step, StepContext, StepFailed, Workflow, register
from portal.quotas import ledger
from portal.tenancy.roles import Permission
from vms import copies, image_store
from vms.models import VM, Backup, Image, ImageCopy, ImageState, Layer
from vms.workflows.image_evict import remove_from_host


def _image(operation: Operation) -> Image:
    return Image.objects.unscoped("workflow").get(pk=operation.target_id)


def delete_copies(context: StepContext) -> Output:
    """As far as hosts answer; what is left is evicted like any copy that nobody uses."""
    image = _image(context.operation)
    machines, backups = (model.objects.unscoped("workflow").filter(image=image) for model in (VM, Backup))
    if machines.exists() or backups.exists() or Layer.objects.filter(image=image).exists():
        raise StepFailed("in_use", "Something was made of it meanwhile.")
    if image_store.is_named_by_others(image):
        return None
    found = list(ImageCopy.objects.filter(sha256=image.sha256).select_related("pool__host"))
    for number, copy in enumerate(found):
        context.progress(number / len(found), f"{number} of {len(found)} hosts")
        _evict(context, copy)
    return None


def _evict(context: StepContext, copy: ImageCopy) -> None:
    """One whose eviction an earlier run began, and was cut off, is gone on with; that of an operation is left to it."""
    if active_on("imagecopy", copy.pk) is not None:
        return
    with transaction.atomic():
        if copy.evicting_at is None and not copies.begin_eviction(copy):
            return
    try:
        remove_from_host(fenced_driver(copy.pool.host, context.check), copy)
    except (DriverError, StepFailed):
        copies.end_eviction(copy.pk)
    else:
        copies.forget(copy.pk)


def delete_file(context: StepContext) -> Output:
    image = _image(context.operation)
    context.check()
    with image_store.locked():
        image_store.remove(image)
    return None


def forget(operation: Operation, outputs: Mapping[str, Any]) -> None:
    ledger.release(operation.target_id)
    Image.objects.unscoped("workflow").filter(pk=operation.target_id).delete()


def keep(operation: Operation) -> None:
    rows = Image.objects.unscoped("workflow").filter(pk=operation.target_id)
    rows.update(state=ImageState.READY)


DELETE = register(
    Workflow(
        kind="image.delete",
        doing="deleting",
        done="deleted",
        permission=Permission.IMAGE_WRITE,
        steps=(
            Step("copies", "Removing its copies from hosts", delete_copies, weight=2),
            Step("file", "Removing the file from the store", delete_file),
        ),
        succeeded=forget,
        unwound=keep,
        translate=translate,
        cancellable=False,
    )
)
