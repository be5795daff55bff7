"""Move: a copy in another pool takes the place of the old file, under a guest that runs or not.

While the guest runs its host copies and switches; while it is off, or there is none, the copier does. Whichever it was,
the row follows in the same step, so that it tells the truth whatever becomes of the operation afterwards. The new file
stands on nothing: what was shared with an image is its own from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from hosts.driver import errors
from hosts.driver.types import CopyFacts, PowerState
from hosts.errors import translate
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, Workflow, register
from portal.tenancy.roles import Permission
from vms.design import disk_spec
from vms.models import Layer, Volume
from vms.workflows import layers
from vms.workflows.volumes.common import domain_with, driver_of, rows_of, volume_of
from vms.workflows.watch import Watch

_ON = (PowerState.RUNNING, PowerState.PAUSED)


def _layer(operation: Operation, which: str) -> Layer:
    return Layer.objects.select_related("pool__host", "pool__storage_class").get(pk=operation.params[which])


def copy(context: StepContext) -> Output:
    Watch(context).until_complete(lambda: _copy(context))
    _take(context)
    _limit(context)
    return None


def _copy(context: StepContext) -> CopyFacts:
    volume, new = volume_of(context.operation), _layer(context.operation, "to")
    if volume.layer_id == new.pk:
        return CopyFacts(new.size_bytes, new.size_bytes, True)
    if _is_on(context, volume):
        try:
            return _copy_under_guest(context, volume, new)
        except errors.InvalidState:  # it was switched off a moment ago
            pass
    return _copy_at_rest(context, volume, new)


def _is_on(context: StepContext, volume: Volume) -> bool:
    state = driver_of(context, volume).state(volume.vm.pk) if volume.vm else None
    return state is not None and state.power in _ON


def _copy_under_guest(context: StepContext, volume: Volume, new: Layer) -> CopyFacts:
    assert volume.vm is not None
    driver = driver_of(context, volume)
    return driver.move_disk(domain_with(context, volume.vm, volume, new), volume.target)


def _limit(context: StepContext) -> None:
    """As its new storage class has it; after the row says where it is, for the guest is there already."""
    volume = volume_of(context.operation)
    if volume.vm is not None and _is_on(context, volume):
        limits = _layer(context.operation, "to").pool.storage_class.limits
        with suppress(errors.InvalidState):  # it was switched off a moment ago
            driver_of(context, volume).limit_disk(volume.vm.pk, volume.target, limits)


def _copy_at_rest(context: StepContext, volume: Volume, new: Layer) -> CopyFacts:
    driver, old = driver_of(context, volume), volume.layer
    facts = driver.copy_volume(new.pk, context.fence, old.pool.name, old.file_name, new.file_name, into=new.pool.name)
    if facts.is_complete and volume.vm is not None:
        driver.define(domain_with(context, volume.vm, volume, new))
    return facts


def _take(context: StepContext) -> None:
    context.check()
    rows_of(context.operation.target_id).update(layer=_layer(context.operation, "to"))


def end(context: StepContext) -> None:
    """A machine that is on the new file by now stays there, for it has written to it since; the old one goes."""
    if _has_switched(context):
        remove_old(context)
        return
    volume, new = volume_of(context.operation), _layer(context.operation, "to")
    driver_of(context, volume).delete_volume(new.pool.name, new.file_name)


def _has_switched(context: StepContext) -> bool:
    """What copies is ended; where that was too late, the row follows."""
    volume, new = volume_of(context.operation), _layer(context.operation, "to")
    if volume.layer_id == new.pk:
        return True
    driver = driver_of(context, volume)
    driver.end_copy(new.pk)
    if volume.vm is None or not driver.end_move(volume.vm.pk, disk_spec(volume, new)):
        return False
    if _is_on(context, volume):
        _copy_under_guest(context, volume, new)
    _take(context)
    return True


def remove_old(context: StepContext) -> Output:
    """With what nothing else stands on below it.

    One that cannot be removed is nobody's from now on, which the audit tells an administrator.
    """
    old = _layer(context.operation, "from")
    try:
        layers.remove(driver_of(context, volume_of(context.operation)), old)
    except errors.DriverError as error:
        if error.transient:
            raise
    return None


def settle(operation: Operation) -> None:
    """The file that it does not lie in has no row any more."""
    volume = volume_of(operation)
    others = {operation.params["from"], operation.params["to"]} - {str(volume.layer_id)}
    Layer.objects.filter(pk__in=others).delete()


def moved(operation: Operation, outputs: Mapping[str, Any]) -> None:
    settle(operation)


MOVE = register(
    Workflow(
        kind="volume.move",
        doing="moving",
        done="moved",
        permission=Permission.VM_WRITE,
        steps=(
            Step("copy", "Copying it, and switching to the copy", copy, undo=end, weight=8, seals=True),
            Step("remove", "Removing the old file", remove_old),
        ),
        succeeded=moved,
        unwound=settle,
        translate=translate,
        deadline=timedelta(hours=48),
    )
)
