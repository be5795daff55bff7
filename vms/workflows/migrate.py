"""Migrate: a machine goes to another host, with its memory where it runs, with its data where both hosts do not see it.

The hosts go on by themselves; each look asks both of them, so whoever dies on the way, it is found where it is, and it
runs there alone. The rows follow in the step that finds it at the other host. One that is off goes by its definition,
or is loaded without being let run where data goes along.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

from django.db import transaction

from hosts import arrivals, reach
from hosts.connections import fenced_driver
from hosts.driver import errors
from hosts.driver.base import Driver
from hosts.driver.types import Convergence, DomainSpec, Journey, MigrationFacts, PowerState
from hosts.errors import translate
from hosts.models import Host, StoragePool
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.states import StepState
from portal.operations.workflow import Output, Step, StepContext, StepFailed, TransientError, Workflow, register
from portal.quotas import ledger
from portal.tenancy.roles import Permission
from vms import claims, moves
from vms.design import disk_spec, domain_spec
from vms.layers import chains, take_to
from vms.models import VM, Layer, Snapshot, SnapshotState, Volume
from vms.workflows import images, layers
from vms.workflows.common import machine, observe_now
from vms.workflows.watch import Watch

_ON = (PowerState.RUNNING, PowerState.PAUSED)
FAILED = "migration_failed"
_GONE = (errors.Unreachable, errors.Timeout)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Move:
    """One migration as its step sees it: both hosts, and what goes along."""

    context: StepContext

    @cached_property
    def vm(self) -> VM:
        return machine(self.context.operation)

    @cached_property
    def here(self) -> Host:
        return self._host("from")

    @cached_property
    def there(self) -> Host:
        return self._host("to")

    def _host(self, which: str) -> Host:
        return Host.objects.select_related("cluster").get(pk=self.context.params[which])

    @property
    def source(self) -> Driver:
        return fenced_driver(self.here, self.context.check)

    @property
    def target(self) -> Driver:
        return fenced_driver(self.there, self.context.check)

    @property
    def has_arrived(self) -> bool:
        """By the rows, which follow as soon as both hosts say so."""
        return VM.objects.unscoped("workflow").filter(pk=self.vm.pk, host=self.there.pk).exists()

    @property
    def has_two_seeds(self) -> bool:
        """For certain: what may be one file, seen from both hosts, is let be."""
        return reach.are_two(self.here.default_pool.storage_id, self.there.default_pool.storage_id)

    def layer(self, volume: Volume, which: str) -> Layer | None:
        """Of a disk that is copied: the file that it has here ("from"), or there ("to")."""
        ids = self.context.params["disks"].get(str(volume.pk))
        return Layer.objects.select_related("pool__storage_class").filter(pk=ids[which]).first() if ids else None

    @cached_property
    def pools(self) -> Mapping[UUID, StoragePool]:
        """By the id of each pool here that is seen from there, the pool there."""
        return reach.counterparts(StoragePool.objects.filter(host=self.here), self.there)

    def spec(self) -> DomainSpec:
        """The domain as it is to be there."""
        vm = self.vm
        vm.tuning = self.context.params["promised"]["tuning"]
        disks = tuple(disk_spec(volume, self._layer_there(volume)) for volume in vm.volumes.all())
        return replace(domain_spec(vm, self.there, self.context.fence), disks=disks)

    def _layer_there(self, volume: Volume) -> Layer:
        if (new := self.layer(volume, "to")) is not None:
            return new
        layer = volume.layer
        layer.pool = self.pools.get(layer.pool_id, layer.pool)
        return layer

    def journey(self) -> Journey:
        cluster, vm = self.there.cluster, self.vm
        return Journey(
            uri=self.there.uri_for_peers,
            copied=tuple(volume.target for volume in vm.volumes.all() if self.layer(volume, "to")),
            mib_per_second=cluster.migration_mib_s,
            convergence=Convergence(cluster.convergence),
            is_off=not self.context.params["is_live"],
        )


def prepare(context: StepContext) -> Output:
    """What it needs there before it comes: the files that do not go along, its address, its CDs."""
    move = _Move(context)
    if not move.has_arrived:
        _look_for_files(move)
    for nic in move.vm.nics.all():
        move.target.ensure_dhcp_host(move.there.network_name, nic.mac, nic.ip)
    if move.vm.image.is_iso:
        images.bring(context, move.target, move.vm.image, move.there.default_pool)
    if not reach.is_same(move.here.default_pool, move.there.default_pool):
        _copy_seed(move)
    return None


def _look_for_files(move: _Move) -> None:
    """That both hosts see them was so when it was checked; a pool may have lost its file system since."""
    pools = move.pools
    for name in {pool.name for pool in pools.values()}:
        move.target.refresh_pool(name)
    for layer in _shared_files(move):
        there = pools.get(layer.pool_id)
        if there is None or move.target.volume(there.name, layer.file_name) is None:
            name = there.name if there else layer.pool.name
            words = f"Its file {layer.file_name} is not in the pool {name} of the other host. Nothing was changed."
            raise StepFailed("disk_missing", words)


def _shared_files(move: _Move) -> list[Layer]:
    """All that its disks and snapshots stand on there, each once, but for disks that are copied."""
    volumes = move.vm.volumes.select_related("layer__pool")
    own = [volume.layer for volume in volumes if move.layer(volume, "to") is None]
    points = Snapshot.objects.unscoped("workflow").filter(vm=move.vm).exclude(state=SnapshotState.GONE)
    own += Layer.objects.filter(snapshot_disk__snapshot__in=points).select_related("pool")
    return list({layer.pk: layer for layer in chains(own)}.values())


def _copy_seed(move: _Move) -> None:
    """As it is: a guest that finds another one would take itself for new."""
    seed = bytearray()
    move.source.download(move.here.pool_name, move.vm.seed_volume, seed.extend)
    move.target.upload(move.there.pool_name, move.vm.seed_volume, bytes(seed), "raw")


def clear_there(context: StepContext) -> None:
    """Nobody waits for a host that does not answer: the reconciler removes the seed when it does."""
    move = _Move(context)
    if move.has_arrived or not move.has_two_seeds or move.there.has_failed:
        return
    with suppress(*_GONE):
        move.target.delete_volume(move.there.pool_name, move.vm.seed_volume)


def go(context: StepContext) -> Output:
    move = _Move(context)
    if move.has_arrived:
        return _settled(move)
    if not context.params["is_transferred"]:
        _refuse_if_on(move)
        move.target.define(move.spec())
        move.source.undefine(move.vm.pk)
        return _take(move)
    facts = Watch(context).until_complete(lambda: _look(move))
    if not _is_there(move):
        if facts.error:
            logger.warning("migration of %s failed: %s", move.vm.pk, facts.error)
        raise StepFailed(FAILED, "The hosts could not do it, and the machine stays where it was.")
    return _take(move)


def _refuse_if_on(move: _Move) -> None:
    """Somebody may have started it by hand."""
    here = move.source.state(move.vm.pk)
    if here is not None and here.power in _ON:
        raise StepFailed("guest_switched", "The machine was switched on meanwhile. Try again.")


def _look(move: _Move) -> MigrationFacts:
    try:
        return move.source.migrate(move.spec(), move.journey(), lambda: _make_volumes(move))
    except errors.InvalidState as error:
        if _is_there(move):
            return MigrationFacts(0, 0, True)
        words = "The machine was switched on or off meanwhile. Try again."
        raise StepFailed("guest_switched", words) from error


def _make_volumes(move: _Move) -> None:
    """Every byte of them is written by the copy, whatever an earlier one has left in them."""
    for volume in move.vm.volumes.select_related("layer__pool"):
        if (new := move.layer(volume, "to")) is not None:
            old = move.source.volume(volume.layer.pool.name, volume.layer.file_name)
            size = old.capacity_bytes if old else volume.layer.size_bytes
            move.target.ensure_volume(new.pool.name, new.file_name, size)


def _is_there(move: _Move) -> bool:
    """Whether it is at the other host, and nothing of it runs here. Asks nobody there while it runs here.

    What comes in there is transient and paused until it is handed over. It may run there without being kept for good.
    """
    here = move.source.state(move.vm.pk)
    if move.there.has_failed or (here is not None and here.power is PowerState.RUNNING):
        return False
    there = move.target.state(move.vm.pk)
    if there is None or not (there.persistent or there.power is PowerState.RUNNING):
        return False
    return here is None or there.power in _ON


def _take(move: _Move) -> Output:
    """It is there. What a migration that was cut off in its last moment has left here goes, before it counts."""
    vm_id, is_off = move.vm.pk, not move.context.params["is_live"]
    move.source.destroy(vm_id)
    move.source.undefine(vm_id)
    if is_off and move.context.params["is_transferred"]:
        move.target.destroy(vm_id)
    move.context.check()
    _follow(move)
    return _settled(move)


@transaction.atomic
def _follow(move: _Move) -> None:
    """The rows say where it is from now on."""
    vm = move.vm
    take_to(vm, move.pools)
    for volume in vm.volumes.all():
        if (new := move.layer(volume, "to")) is not None:
            Volume.objects.unscoped("workflow").filter(pk=volume.pk).update(layer=new)
    VM.objects.unscoped("workflow").filter(pk=vm.pk).update(host=move.there, **move.context.params["promised"])


def _settled(move: _Move) -> Output:
    """By its own definition there, whatever of the old one libvirt has brought along; and what it has cost."""
    vm = machine(move.context.operation)
    move.target.define(domain_spec(vm, vm.host, move.context.fence))
    observe_now(move.context)
    cost = move.target.arrival(vm.pk) if move.context.params["is_live"] else None
    return {"downtime_ms": cost.downtime_ms, "total_ms": cost.total_ms, "sent_bytes": cost.sent_bytes} if cost else {}


def turn_back(context: StepContext) -> None:
    """It stays, unless it is there by now. After the switch to post-copy it goes on: neither host has it whole."""
    move = _Move(context)
    if move.has_arrived:
        return
    if move.here.has_failed:
        _leave_failed(move)
        return
    if not move.source.end_migration(move.vm.pk):
        raise TransientError("the end of the move, which cannot be stopped at this moment")
    if _is_there(move):
        _take(move)
        return
    if _is_paused_here(move):
        _clear_target(move)  # what has come in there must not begin to run beside the one here
    move.source.stay(move.vm.pk)
    if _is_there(move):  # whoever had announced it before has begun it after all; nobody can from here on
        _take(move)
        return
    if move.there.has_failed and move.source.state(move.vm.pk) is None:  # it had arrived, and has died there
        move.source.define(domain_spec(move.vm, move.here, context.fence))
    with suppress(*_GONE):
        _clear_target(move)
    observe_now(context)


def _leave_failed(move: _Move) -> None:
    """Nothing runs here any more. What is not whole there must not go on: it starts elsewhere as soon as this ends."""
    there = None if move.there.has_failed else move.target.state(move.vm.pk)
    if there is not None and there.power is PowerState.RUNNING and there.persistent and there.is_whole:
        _follow(move)
        _settled(move)
    else:
        _clear_target(move)


def _is_paused_here(move: _Move) -> bool:
    here = move.source.state(move.vm.pk)
    return here is not None and here.power is PowerState.PAUSED


def _clear_target(move: _Move) -> None:
    """What does not answer keeps what it has: an incoming QEMU ends by itself, and the files are the clock's."""
    if move.there.has_failed:
        return
    if move.target.state(move.vm.pk) is not None:
        move.target.destroy(move.vm.pk)
    move.target.undefine(move.vm.pk)
    for volume in move.vm.volumes.all():
        if (new := move.layer(volume, "to")) is not None:
            move.target.delete_volume(new.pool.name, new.file_name)
            new.delete()


def clear_here(context: StepContext) -> Output:
    """What it left behind. Where its old host does not answer, the clock takes its layers, the reconciler its seed."""
    move = _Move(context)
    try:
        for ids in context.params["disks"].values():
            for old in Layer.objects.filter(pk=ids["from"]).select_related("pool", "parent__pool"):
                layers.remove(move.source, old)
                old.delete()
        if move.has_two_seeds:
            move.source.delete_volume(move.here.pool_name, move.vm.seed_volume)
    except errors.DriverError as error:
        if error.transient and not isinstance(error, _GONE):
            raise
        logger.warning("%s left something on %s: %s", move.vm.pk, move.here.name, error)
    return None


def settle(operation: Operation) -> None:
    """The host that it is not on has nothing of it any more."""
    vm = machine(operation)
    (other,) = {operation.params["from"], operation.params["to"]} - {str(vm.host_id)}
    for holder in (vm.pk, *claims.holders_beside(vm)):
        ledger.release(holder, UUID(other))


def give_back(operation: Operation) -> None:
    """Where it was never begun, there are no files of the disks that were to be copied."""
    settle(operation)
    if (operation.error or {}).get("code") == FAILED:
        _tell_hosts(operation, has_arrived=False)
    if not operation.steps.filter(name="move").exclude(state=StepState.WAITING).exists():
        Layer.objects.filter(pk__in=[ids["to"] for ids in operation.params["disks"].values()]).delete()


def _tell_hosts(operation: Operation, *, has_arrived: bool) -> None:
    """Where nothing but the definition went, the hosts have not spoken to each other."""
    if operation.params["is_transferred"]:
        arrivals.note(operation.params["to"], operation.params["from"], has_arrived=has_arrived)


def migrated(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """Told with what it has cost, and without the names of hosts: its owner reads it."""
    settle(operation)
    _tell_hosts(operation, has_arrived=True)
    cost = {name: outputs[name] for name in ("downtime_ms", "total_ms", "sent_bytes") if name in outputs}
    actor = operations.actor_of(operation)
    after = {"is_live": operation.params["is_live"], **cost}
    log.record("vm.migrated", actor=actor, target=machine(operation), operation_id=operation.pk, after=after)


MIGRATE = register(
    Workflow(
        kind=moves.KIND,
        doing="moving to another host",
        done="moved to another host",
        permission=Permission.HOST_WRITE,
        steps=(
            Step("prepare", "Preparing the other host", prepare, undo=clear_there),
            Step("move", "Moving it", go, undo=turn_back, weight=8, seals=True),
            Step("clear", "Removing what it left behind", clear_here),
        ),
        succeeded=migrated,
        unwound=give_back,
        translate=translate,
        deadline=timedelta(hours=48),
    )
)
