"""Freezing: a machine's disks write to fresh layers from one moment on, and what they stood on stays as it was.

And the end of a layer, with all below it that nothing needs any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from hosts.driver.base import Driver
from hosts.driver.types import FreshLayer, PowerState
from portal.operations.workflow import StepContext
from vms.design import domain_spec
from vms.layers import has_others, is_needed
from vms.models import VM, Layer, Snapshot, SnapshotDisk, SnapshotState, Volume
from vms.workflows.common import driver_of

_ON = (PowerState.RUNNING, PowerState.PAUSED)


def freeze(context: StepContext, vm: VM, tops: Sequence[Layer]) -> bool:
    """`tops` are layers that stand on those its disks write to; whether a guest's agent made its data consistent first.

    The host is told first, so that whatever dies here, the next try finds it done and writes that down.
    """
    driver = driver_of(context, vm)
    for top in tops:
        assert top.parent is not None
        driver.ensure_overlay(top.pool.name, top.file_name, top.parent.file_name, top.size_bytes)
    state = driver.state(vm.pk)
    is_quiesced = False
    if state is not None and state.power in _ON:
        is_quiesced = driver.freeze(vm.pk, _fresh(vm, tops), quiesce=True)
    _write_down(vm, tops)
    driver.define(domain_spec(_again(vm), vm.host, context.fence))
    return is_quiesced


def unfreeze(context: StepContext, vm: VM, tops: Sequence[Layer]) -> None:
    """Removes fresh layers that nothing writes to. Where the machine may do so by now, they are its own for good."""
    tops = [top for top in tops if not has_others(top)]
    if not tops:
        return
    driver = driver_of(context, vm)
    if _may_be_written(driver, vm, tops):
        freeze(context, vm, tops)
        return
    for top in tops:
        driver.delete_volume(top.pool.name, top.file_name)
        top.delete()


def remove(driver: Driver, layer: Layer) -> None:
    """Remove its file, then those below that nothing needs any more, each file before its row.

    Its own row stays, on nothing, for its file is gone; whoever had it deletes that.
    """
    below = layer.parent
    driver.delete_volume(layer.pool.name, layer.file_name)
    Layer.objects.filter(pk=layer.pk).update(parent=None)
    while below is not None and not is_needed(below):
        parent = below.parent
        driver.delete_volume(below.pool.name, below.file_name)
        below.delete()
        below = parent


def _fresh(vm: VM, tops: Sequence[Layer]) -> list[FreshLayer]:
    targets = {volume.layer_id: volume.target for volume in vm.volumes.all()}
    return [FreshLayer(_target(targets, top), top.pool.name, top.file_name) for top in tops]


def _target(targets: dict[UUID, str], top: Layer) -> str:
    """Of the disk that writes to it, or to what it stands on."""
    return targets.get(top.pk) or targets[top.parent_id]  # type: ignore[index]


@transaction.atomic
def _write_down(vm: VM, tops: Sequence[Layer]) -> None:
    """What is frozen is kept as by a snapshot that was deleted already: out of sight, until it can be merged."""
    rows = Volume.objects.unscoped("workflow").filter(layer__in=[top.parent_id for top in tops])
    volumes = {volume.layer_id: volume for volume in rows}
    if not volumes:
        return
    size = {"vcpus": vm.vcpus, "memory_mib": vm.memory_mib, "power": vm.observed_power}
    point = Snapshot.objects.create(tenant=vm.tenant, vm=vm, state=SnapshotState.GONE, size_gib=0, **size)
    for top in tops:
        assert top.parent is not None
        if (volume := volumes.get(top.parent.pk)) is not None:
            size_gib = volume.size_gib
            SnapshotDisk.objects.create(snapshot=point, volume=volume, layer=top.parent, size_gib=size_gib)
            Volume.objects.unscoped("workflow").filter(pk=volume.pk).update(layer=top)


def _may_be_written(driver: Driver, vm: VM, tops: Sequence[Layer]) -> bool:
    """A freeze that was cut off may have been done, once all the files were there."""
    if any(driver.volume(top.pool.name, top.file_name) is None for top in tops):
        return False
    found = driver.inventory(sorted({top.pool.name for top in tops}), vm.host.network_name)
    domain = next((each for each in found.domains if each.uuid == vm.pk), None)
    if domain is None:
        return False
    return domain.power in _ON or not {top.file_name for top in tops}.isdisjoint(disk.volume for disk in domain.disks)


def _again(vm: VM) -> VM:
    """As the database has it now."""
    return VM.objects.unscoped("workflow").select_related("host__cluster", "image", "tenant").get(pk=vm.pk)
