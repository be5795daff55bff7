"""Growing volumes, and moving them to other storage."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from hosts.models import StoragePool
from portal.core.errors import Invalid
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.quotas import services as quotas
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms.models import Layer, Volume
from vms.services import pools, volume_guard
from vms.services.volumes import check_size
from vms.volume_states import VolumeAction
from vms.workflows.volumes.grow import GROW
from vms.workflows.volumes.move import MOVE


@transaction.atomic
def grow(*, actor: Actor, volume: Volume, size_gib: int) -> Operation:
    """Larger, under a guest that runs or not. Disks never shrink."""
    volume_guard.require(actor, volume, VolumeAction.GROW)
    check_size(size_gib)
    if size_gib <= volume.size_gib:
        words = f"It has {volume.size_gib} GiB; a disk cannot shrink."
        raise Invalid(words, code="disk_shrinks", field="size_gib")
    pool, more = volume.layer.pool, size_gib - volume.size_gib
    holder, wanted = _holder(volume, size_gib)
    quotas.hold(volume.tenant, holder, {**({"vms": 1} if volume.is_boot else {}), **wanted}, field="size_gib")
    pools.hold(pool.host, holder, wanted)
    pools.require_room(pool, more)
    return operations.submit(
        GROW,
        actor=actor,
        target=volume,
        title=f"Grow {volume.name} to {size_gib} GiB",
        params={"before": volume.size_gib, "after": size_gib},
        lane=pool.host_id,
        after={"disk_gib": size_gib},
        holds=[*([volume.vm] if volume.vm else []), volume.layer],
    )


def _holder(volume: Volume, size_gib: int) -> tuple[UUID, dict[str, int]]:
    """Who pays for it, and what that then takes."""
    if volume.is_boot and volume.vm is not None:
        return volume.vm.pk, {**volume.vm.wanted, "disk_gib": size_gib}
    return volume.pk, {"disk_gib": size_gib}


@transaction.atomic
def move(*, actor: Actor, volume: Volume, storage_class: str | None = None, pool: str | None = None) -> Operation:
    """To storage of another class of the same host, under a guest that runs or not; administrators may name a pool.

    Raises Invalid at the field, Forbidden, NoCapacity, or Conflict with the reason.
    """
    volume_guard.require(actor, volume, VolumeAction.MOVE)
    there = volume.layer.pool
    holder, wanted = _holder(volume, volume.size_gib)
    pools.hold(there.host, holder, wanted)  # as it is: whoever counts the host's disks next waits
    goal = _pool(actor, volume, pool) if pool else _of_class(volume, storage_class)
    layer = Layer.objects.create(pool=goal, size_gib=volume.size_gib)
    return operations.submit(
        MOVE,
        actor=actor,
        target=volume,
        title=f"Move {volume.name} to {goal.storage_class.name}",
        params={"from": str(volume.layer_id), "to": str(layer.pk)},
        lane=goal.host_id,
        after={"class": goal.storage_class.slug},
        holds=[*([volume.vm] if volume.vm else []), volume.layer, layer],
    )


def _of_class(volume: Volume, slug: str | None) -> StoragePool:
    wanted, there = pools.storage_class(slug), volume.layer.pool
    if wanted is None:
        raise Invalid("Say to which storage class.", code="required", field="storage_class")
    if wanted.pk == there.storage_class_id:
        raise Invalid("It is of this class already.", code="same_class", field="storage_class")
    return pools.pool_on(there.host, wanted, volume.size_gib, other_than=there)


def _pool(actor: Actor, volume: Volume, name: str) -> StoragePool:
    actor.require(Permission.HOST_WRITE)
    there = volume.layer.pool
    found = StoragePool.objects.filter(host=there.host, name=name).exclude(pk=there.pk).first()
    if found is None or not found.takes_disks or not found.is_ready:
        raise Invalid(
            "Its host has no other pool of this name that takes disks.", code="unknown_reference", field="pool"
        )
    pools.require_room(found, volume.size_gib)
    return found
