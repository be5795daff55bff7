"""Moving machines to other hosts, live where they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from hosts import placement, reach
from hosts.models import Host
from portal.core.errors import Conflict, Invalid
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from vms import layers, migration, promises
from vms.migration import Precheck, Target
from vms.models import VM, Layer, Snapshot, Volume
from vms.services import guard, pools
from vms.states import Action
from vms.wanted import wanted_of
from vms.workflows.migrate import MIGRATE


@transaction.atomic
def migrate_vm(*, actor: Actor, vm: VM, host: str | None = None) -> Operation:
    """To the host of that name or id, or to the one that placement chooses in its cluster.

    What it takes there is claimed now, and given back here when it has arrived; meanwhile it holds both.
    Raises Forbidden, Invalid at the host, Conflict with what is in the way, or NoCapacity.
    """
    guard.require(actor, vm, Action.MIGRATE)
    found = migration.precheck(vm)
    possible = {target.host.pk: target for target in _chosen(found, host)}
    claims = _Claims(vm)
    wanted = wanted_of(
        vm,
        clusters=frozenset([vm.host.cluster_id]),
        avoid=frozenset(Host.objects.exclude(pk__in=possible).values_list("pk", flat=True)),
        processor=migration.processor_of(vm),
        uses_reserve=True,
    )
    there = placement.place(vm.pk, wanted, claims.hold)
    return _submit(actor, vm, there, claims)


def _chosen(found: Precheck, host: str | None) -> list[Target]:
    if host is None:
        if not found.possible:
            raise Conflict(_words(found), code="cannot_migrate", extra={"obstacles": _obstacles(found)})
        return found.possible
    target = next((each for each in found.targets if host in (each.host.name, str(each.host.pk))), None)
    if target is None:
        words = "There is no other host of this name in its cluster."
        raise Invalid(words, code="unknown_reference", field="host")
    if target.obstacles:
        raise Conflict(" ".join(target.obstacles), code="cannot_migrate", extra={"obstacles": _obstacles(found)})
    return [target]


def _words(found: Precheck) -> str:
    if not found.targets:
        return "Its cluster has no other host."
    return "No other host of its cluster can take it. " + " ".join(
        f"{target.host.name}: {target.obstacles[0]}" for target in found.targets[:3]
    )


def _obstacles(found: Precheck) -> dict[str, list[str]]:
    return {target.host.name: list(target.obstacles) for target in found.targets if target.obstacles}


@dataclass
class _Claims:
    """What of the other host is claimed beside the machine's size: its promise, its other disks, its snapshots."""

    vm: VM
    promised: Mapping[str, Any] = field(default_factory=dict)
    fresh: dict[Volume, Layer] = field(default_factory=dict)

    def hold(self, host: Host) -> None:
        """Raises NoCapacity."""
        vm = self.vm
        self.promised = promises.kept_by(vm, host, vm.promise)
        for volume in vm.volumes.all():
            if volume.wanted:
                pools.hold(host, volume.pk, volume.wanted)
        for point in Snapshot.objects.unscoped("of one in hand").filter(vm=vm):
            pools.hold(host, point.pk, {"disk_gib": point.size_gib})
        reached = reach.counterparts((layer.pool for layer in layers.of_machine(vm)), host)
        self.fresh = {volume: self._layer(volume, host) for volume in migration.copied_to(vm, reached)}

    def _layer(self, volume: Volume, host: Host) -> Layer:
        """It stands on nothing: what was shared with an image is its own from then on."""
        pool = pools.pool_on(host, volume.layer.pool.storage_class, volume.size_gib)
        return Layer.objects.create(pool=pool, size_gib=volume.size_gib)


def _submit(actor: Actor, vm: VM, there: Host, claims: _Claims) -> Operation:
    volumes = list(vm.volumes.select_related("layer"))
    disks = {str(volume.pk): {"from": str(volume.layer_id), "to": str(new.pk)} for volume, new in claims.fresh.items()}
    params: dict[str, Any] = {
        "from": str(vm.host_id),
        "to": str(there.pk),
        "is_live": migration.is_live(vm),
        "is_transferred": migration.is_transferred(vm, claims.fresh),
        "disks": disks,
        "promised": dict(claims.promised),
    }
    return operations.submit(
        MIGRATE,
        actor=actor,
        target=vm,
        title=f"Move {vm.name} to another host",
        params=params,
        lane=vm.host_id,
        holds=[*volumes, *(volume.layer for volume in volumes), *claims.fresh.values()],
    )
