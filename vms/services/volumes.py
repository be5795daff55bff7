"""Volumes: making, naming, attaching, detaching and deleting them."""

from __future__ import annotations

import string
from dataclasses import dataclass

from django.db import transaction

from portal.core import text
from portal.core.errors import Conflict, Invalid
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.quotas import services as quotas
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import loose, volume_selectors
from vms.models import VM, Layer, Volume
from vms.services import guard, pools, volume_guard
from vms.services.create import resolve_tenant
from vms.states import Action
from vms.volume_states import VolumeAction
from vms.workflows.volumes.attach import ATTACH, DETACH
from vms.workflows.volumes.create import CREATE, DELETE

MOST_GIB = 64 * 1024
MOST_OF_A_MACHINE = 8  # beside the one it starts from: so many can be plugged into a machine that runs
TARGETS = [f"vd{letter}" for letter in string.ascii_lowercase[1:]]


@dataclass(frozen=True)
class CreateVolume:
    """A request as it came: tenant and class by slug, machine by id or name."""

    name: str
    size_gib: int
    tenant: str | None = None
    storage_class: str | None = None
    vm: str | None = None


@transaction.atomic
def create_volume(*, actor: Actor, request: CreateVolume) -> tuple[Volume, Operation]:
    """An empty volume, where `vm` is named on its host and attached to it.

    Raises Invalid at the field, Forbidden, Exceeded (quota), NoCapacity, or Conflict where the machine's state is in
    the way.
    """
    tenant = resolve_tenant(actor, request.tenant, Permission.VM_WRITE)
    name = text.label(request.name, longest=63)
    check_size(request.size_gib)
    wanted = pools.storage_class(request.storage_class)
    vm = volume_selectors.machine_for(actor, tenant, request.vm) if request.vm else None
    volume = Volume(tenant=tenant, name=name, size_gib=request.size_gib, is_ready=False)
    if vm is not None:
        guard.require(actor, vm, Action.ATTACH_VOLUME)
        volume.vm, volume.target = vm, free_target(vm)
    quotas.hold(tenant, volume.pk, volume.wanted, field="size_gib")
    pool = pools.claim(vm.host, volume.pk, wanted, request.size_gib) if vm else pools.place(volume, wanted)
    volume.layer = Layer.objects.create(pool=pool, size_gib=request.size_gib)
    volume.save(force_insert=True)
    operation = operations.submit(
        CREATE,
        actor=actor,
        target=volume,
        title=f"Create volume {name}",
        lane=pool.host_id,
        after={"disk_gib": request.size_gib, "class": pool.storage_class.slug},
        holds=[volume.layer, *([vm] if vm else [])],
    )
    return volume, operation


def check_size(size_gib: int) -> None:
    if not 1 <= size_gib <= MOST_GIB:
        raise Invalid(f"Use a whole number of GiB from 1 to {MOST_GIB}.", field="size_gib")


def free_target(vm: VM) -> str:
    """Where the guest gets its next disk. The caller has locked the machine."""
    taken = set(Volume.objects.unscoped("a machine in hand").filter(vm=vm).values_list("target", flat=True))
    if len(taken) > MOST_OF_A_MACHINE:
        raise Conflict(
            f"A machine has {MOST_OF_A_MACHINE} volumes at most. Detach one first.", code="too_many", field="vm"
        )
    return next(target for target in TARGETS if target not in taken)


@transaction.atomic
def rename_volume(*, actor: Actor, volume: Volume, name: str) -> Volume:
    volume_guard.require(actor, volume, VolumeAction.RENAME)
    before, volume.name = volume.name, text.label(name, longest=63)
    volume.save(update_fields=["name"])
    log.record("volume.renamed", actor=actor, target=volume, before={"name": before}, after={"name": volume.name})
    return volume


@transaction.atomic
def attach(*, actor: Actor, volume: Volume, vm: str) -> Operation:
    """To a machine of the same tenant on a host that reaches it, by id or name; running or not.

    Raises Invalid ("vm"), Forbidden, or Conflict: of two who want it at once, one gets it.
    """
    machine = volume_selectors.machine_for(actor, volume.tenant, vm)
    guard.require(actor, machine, Action.ATTACH_VOLUME)
    volume_guard.require(actor, volume, VolumeAction.ATTACH)
    if volume.layer.pool.host_id != machine.host_id and not loose.take_to(volume, machine.host):
        raise Conflict("It lies on another host than this machine.", code="other_host", field="vm")
    target = free_target(machine)
    Volume.objects.unscoped("a volume in hand").filter(pk=volume.pk).update(vm=machine, target=target)
    volume.vm, volume.target = machine, target
    return operations.submit(
        ATTACH,
        actor=actor,
        target=volume,
        title=f"Attach {volume.name} to {machine.name}",
        lane=machine.host_id,
        after={"vm": machine.name},
        holds=[machine, volume.layer],
    )


@transaction.atomic
def detach(*, actor: Actor, volume: Volume) -> Operation:
    """From its machine, whose guest is asked to let go of it where it runs."""
    volume_guard.require(actor, volume, VolumeAction.DETACH)
    if (vm := volume.vm) is None:
        raise Conflict("It is attached to no machine.", code="wrong_state")
    return operations.submit(
        DETACH,
        actor=actor,
        target=volume,
        title=f"Detach {volume.name} from {vm.name}",
        lane=vm.host_id,
        after={"vm": vm.name},
        holds=[vm, volume.layer],
    )


@transaction.atomic
def delete_volume(*, actor: Actor, volume: Volume) -> Operation:
    """For good. It costs nothing from now on; what it claims is given back when its file is gone."""
    volume_guard.require(actor, volume, VolumeAction.DELETE)
    Volume.objects.unscoped("a volume in hand").filter(pk=volume.pk).update(is_ready=False)
    return operations.submit(
        DELETE,
        actor=actor,
        target=volume,
        title=f"Delete volume {volume.name}",
        lane=volume.layer.pool.host_id,
        holds=[volume.layer],
    )
