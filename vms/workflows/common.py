"""What steps on machines share."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils import timezone

from hosts.connections import fenced_driver
from hosts.driver.base import Driver
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.workflow import StepContext
from vms import observed
from vms.models import VM, Layer, Volume


def machine(operation: Operation) -> VM:
    """The operation's machine; its row outlives the operation."""
    rows = VM.objects.unscoped("workflow").select_related("host__cluster", "image", "tenant")
    return rows.get(pk=operation.target_id)


def driver_of(context: StepContext, vm: VM) -> Driver:
    """The driver of the machine's host; it refuses to be used by a worker that no longer holds the operation."""
    return fenced_driver(vm.host, context.check)


def observe_now(context: StepContext) -> None:
    """Ask the host how the machine is, so that the operation ends with the page showing the truth."""
    vm, asked_at = machine(context.operation), timezone.now()
    state = driver_of(context, vm).state(vm.pk)
    observed.note(vm.pk, state.power if state else None, asked_at)


def note_size(operation: Operation, before: Mapping[str, int]) -> None:
    """Tell the log that the machine has another size, in the transaction that gave it that."""
    actor = operations.actor_of(operation)
    vm = machine(operation)
    log.record("vm.resized", actor=actor, target=vm, operation_id=operation.pk, before=before, after=vm.wanted)


def take_disk_size(vm: VM, disk_gib: int) -> None:
    """The disk that it starts from has that size; whoever calls settles what is held for it."""
    boot = vm.boot_volume
    VM.objects.unscoped("workflow").filter(pk=vm.pk).update(disk_gib=disk_gib)
    Volume.objects.unscoped("workflow").filter(pk=boot.pk).update(size_gib=disk_gib)
    Layer.objects.filter(pk=boot.layer_id).update(size_gib=disk_gib)
