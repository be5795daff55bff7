"""Cloning machines."""

from __future__ import annotations

from functools import partial

from django.db import transaction

from hosts import placement
from hosts.models import Host
from portal.core.errors import Conflict
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.quotas import services as quotas
from portal.tenancy.gate import Actor
from vms import promises
from vms.layers import depth_of, fresh_on
from vms.models import VM, Layer, Volume
from vms.services import guard, pools
from vms.services.create import new_machine
from vms.states import Action
from vms.workflows.clone import CLONE, FULL, LINKED

MODES = (FULL, LINKED)
# QEMU opens each file of a chain, and each read that none has asks them all.
MOST_LAYERS = 24
_ALIKE = ("flavor", "image", "firmware", "vcpus", "memory_mib", "disk_gib", "ssh_keys", "user_data")


@transaction.atomic
def clone_vm(*, actor: Actor, vm: VM, name: str, mode: str = FULL) -> tuple[VM, Operation]:
    """A new machine of the same tenant, size and host with the data of all disks, an identity of its own, and running.

    FULL copies the data; LINKED stands on the source's disks as they are now, takes seconds, and shares what neither
    writes. Both count in full. A source that runs goes on: its disks are frozen for an instant.
    Raises Invalid at the field, Forbidden, Exceeded (quota), NoCapacity, or Conflict (name taken, or the source's state
    is in the way).
    """
    guard.require(actor, vm, Action.CLONE)
    sources = list(vm.volumes.select_related("layer__pool", "layer__parent"))
    is_frozen = mode == LINKED or vm.status != "stopped"
    if is_frozen:
        refuse_if_deep(sources)
    alike = {field: getattr(vm, field) for field in _ALIKE}
    new = new_machine(actor, vm.tenant, name, place=partial(_beside, vm), **alike)
    volumes = [_volume(new, source, is_linked=mode == LINKED) for source in sources]
    tops = [fresh_on(source.layer, source.size_gib) for source in sources] if is_frozen else []
    own = [*volumes, *(volume.layer for volume in volumes)]
    kept = [vm, *sources, *(source.layer for source in sources)]
    operation = operations.submit(
        CLONE,
        actor=actor,
        target=new,
        title=f"Clone {vm.name} as {new.name}",
        params={
            "source": str(vm.pk),
            "mode": mode,
            "tops": [str(top.pk) for top in tops],
            "from": {volume.target: str(source.layer_id) for volume, source in zip(volumes, sources, strict=True)},
        },
        lane=vm.host_id,
        after={"source": vm.name, "mode": mode, **new.wanted},
        holds=[*own, *tops, *(kept if is_frozen else [])],
        shares=[] if is_frozen else kept,
    )
    log.record(
        "vm.clone-asked", actor=actor, target=vm, operation_id=operation.pk, after={"as": new.name, "mode": mode}
    )
    return new, operation


def _beside(source: VM, new: VM) -> Host:
    placement.place_on(source.host, new.pk, new.wanted)
    promises.keep(new, source.host)
    return source.host


def _volume(new: VM, source: Volume, *, is_linked: bool) -> Volume:
    """Of the same size, name and place as its source; all but the one that it boots from pay for themselves."""
    volume = Volume(tenant=new.tenant, vm=new, name=source.name, size_gib=source.size_gib)
    volume.target, volume.is_boot, volume.is_ready = source.target, source.is_boot, False
    if volume.wanted:
        quotas.hold(new.tenant, volume.pk, volume.wanted)
        placement.place_on(new.host, volume.pk, volume.wanted)
    pools.require_room(source.layer.pool, source.size_gib)
    parent = source.layer if is_linked else None
    volume.layer = Layer.objects.create(pool=source.layer.pool, parent=parent, size_gib=source.size_gib)
    volume.save(force_insert=True)
    return volume


def refuse_if_deep(sources: list[Volume]) -> None:
    """Each freeze adds a layer to those that its disks stand on. Raises Conflict."""
    if any(depth_of(source.layer) >= MOST_LAYERS for source in sources):
        raise Conflict(
            f"Its disks stand on {MOST_LAYERS} layers already. Delete snapshots or linked clones, or stop it "
            "first and make no linked clone.",
            code="too_many_layers",
        )
