"""Create: image, disk, seed, address, definition, start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from hosts.errors import translate
from hosts.models import StoragePool
from hosts.models.placement import forget_placements
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, Workflow, register
from portal.quotas import ledger
from portal.tenancy.roles import Permission
from vms.design import domain_spec
from vms.models import VM, Layer, Lifecycle, Snapshot, Volume
from vms.seed import seed_iso
from vms.workflows import images
from vms.workflows.common import driver_of, machine, observe_now


def bring_image(context: StepContext) -> Output:
    """Images are read-only and shared by all machines of the host, so there is nothing to undo."""
    vm = machine(context.operation)
    images.bring(context, driver_of(context, vm), vm.image, _place_of_image(vm))
    return None


def _place_of_image(vm: VM) -> StoragePool:
    """Beside the disk that stands on it; a CD lies where the seeds lie."""
    return vm.host.default_pool if vm.image.is_iso else vm.boot_volume.layer.pool


def make_disk(context: StepContext) -> Output:
    """Looks for the image once more, which may be gone since, or just on its way."""
    bring_image(context)
    vm = machine(context.operation)
    layer, driver = vm.boot_volume.layer, driver_of(context, vm)
    if vm.image.is_iso:
        driver.ensure_volume(layer.pool.name, layer.file_name, layer.size_bytes)
    else:
        driver.ensure_overlay(layer.pool.name, layer.file_name, vm.image.file_name, layer.size_bytes)
    return None


def delete_disk(context: StepContext) -> None:
    vm = machine(context.operation)
    layer = vm.boot_volume.layer
    driver_of(context, vm).delete_volume(layer.pool.name, layer.file_name)


def make_seed(context: StepContext) -> Output:
    vm = machine(context.operation)
    is_copy = not {"source", "backup"}.isdisjoint(context.params)
    about = {"ssh_keys": vm.ssh_keys, "user_data": vm.user_data, "is_copy": is_copy}
    iso = seed_iso(instance_id=str(vm.pk), hostname=vm.name, **about)
    driver_of(context, vm).upload(vm.host.pool_name, vm.seed_volume, iso, "raw")
    return None


def delete_seed(context: StepContext) -> None:
    vm = machine(context.operation)
    driver_of(context, vm).delete_volume(vm.host.pool_name, vm.seed_volume)


def reserve_address(context: StepContext) -> Output:
    """Stays when the machine goes: the next one with this address has its MAC too (vms.addresses)."""
    vm = machine(context.operation)
    for nic in vm.nics.all():
        driver_of(context, vm).ensure_dhcp_host(vm.host.network_name, nic.mac, nic.ip)
    return None


def define(context: StepContext) -> Output:
    vm = machine(context.operation)
    driver_of(context, vm).define(domain_spec(vm, vm.host, context.fence))
    return None


def undefine(context: StepContext) -> None:
    vm = machine(context.operation)
    driver_of(context, vm).undefine(vm.pk)


def start(context: StepContext) -> Output:
    vm = machine(context.operation)
    driver_of(context, vm).start(vm.pk)
    observe_now(context)
    return None


def cut_power(context: StepContext) -> None:
    vm = machine(context.operation)
    driver_of(context, vm).destroy(vm.pk)


def finish(operation: Operation, outputs: Mapping[str, Any]) -> None:
    Volume.objects.unscoped("workflow").filter(vm_id=operation.target_id, is_ready=False).update(is_ready=True)
    VM.objects.unscoped("workflow").filter(pk=operation.target_id).update(lifecycle=Lifecycle.READY)


def forget(operation: Operation) -> None:
    """Nothing of it is left on the host, so nothing of it is left here; the operation keeps the story."""
    forget_machine(operation.target_id)


def forget_machine(vm_id: UUID, removed: Iterable[UUID | str] | None = None) -> None:
    """Its rows and all that it holds, in the caller's transaction. Volumes of data stay their tenant's.

    `removed` are the layers whose files are gone, those that stood on others first; by default that of its boot volume
    alone, as after a create that was undone. Any other that nothing needs now is the clock's (vms.workflows.clear_up).
    """
    rows = VM.objects.unscoped("workflow").filter(pk=vm_id)
    forget_snapshots(vm_id)
    ledger.release(vm_id)
    forget_placements(vm_id)
    volumes = Volume.objects.unscoped("workflow").filter(vm_id=vm_id)
    volumes.filter(is_boot=False).update(vm=None, target="")
    boots = list(volumes.filter(is_boot=True).values_list("layer_id", flat=True))
    volumes.filter(is_boot=True).delete()
    for id in boots if removed is None else removed:
        Layer.objects.filter(pk=id).delete()
    rows.delete()


def forget_snapshots(vm_id: UUID) -> None:
    VM.objects.unscoped("workflow").filter(pk=vm_id).update(current_snapshot=None)
    snapshots = Snapshot.objects.unscoped("workflow").filter(vm_id=vm_id)
    for id in list(snapshots.values_list("pk", flat=True)):
        ledger.release(id)
    snapshots.update(parent=None)
    snapshots.delete()


# What every new machine goes through once its disks are there, and its drives.
START = (
    Step("address", "Reserving the address", reserve_address),
    Step("define", "Defining the machine", define, undo=undefine),
    Step("start", "Starting it", start, undo=cut_power, weight=3),
)
BUILD = (Step("seed", "Writing the first-boot settings", make_seed, undo=delete_seed), *START)
CREATE = register(
    Workflow(
        kind="vm.create",
        doing="building",
        done="created",
        permission=Permission.VM_WRITE,
        steps=(
            Step("image", "Bringing the image to the host", bring_image, weight=3),
            Step("disk", "Making the disk", make_disk, undo=delete_disk),
            *BUILD,
        ),
        succeeded=finish,
        unwound=forget,
        translate=translate,
    )
)
