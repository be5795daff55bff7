"""Whether a machine can be moved to another host, what goes along, and what is in the way. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from hosts import placement, reach, service_class
from hosts.choice import Choice, Constraint, Refusal, choose
from hosts.driver.types import Accelerator, Firmware
from hosts.models import Host, StoragePool
from vms import layers
from vms.models import VM, Power, Snapshot, SnapshotState, Volume
from vms.wanted import wanted_now

_REFUSED: Mapping[Constraint, str] = {
    Constraint.STATE: "It takes no machines ({}).",
    Constraint.NOT_READY: "Its check found no way to run machines.",
    Constraint.UNREAD: "It has not been read since a backup was restored.",
    Constraint.CLUSTER: "It is in another cluster, with another network.",
    Constraint.FIRMWARE: "It has no firmware of the kind {}.",
    Constraint.PROCESSOR: "It runs guests in another way ({}).",
    Constraint.LABELS: "It lacks the labels {}.",
    Constraint.TOGETHER: "The machine's group {} is kept together on another host.",
    Constraint.APART: "The machine is kept apart from another of its group {}.",
    Constraint.CAPACITY: "It has no room: {}.",
}


@dataclass(frozen=True)
class Target:
    """A host, and why the machine cannot go there, in words; `copied` are the disks whose data has to go along."""

    host: Host
    obstacles: tuple[str, ...]
    copied: tuple[Volume, ...]

    @property
    def copied_gib(self) -> int:
        return sum(volume.size_gib for volume in self.copied)


@dataclass(frozen=True)
class Precheck:
    """`is_live`: it goes on while it moves. Targets are those of its cluster, those without an obstacle first."""

    is_live: bool
    targets: tuple[Target, ...]

    @property
    def possible(self) -> list[Target]:
        return [target for target in self.targets if not target.obstacles]


def precheck(vm: VM) -> Precheck:
    """As things are now; the service asks again when it claims."""
    pools = {layer.pool.pk: layer.pool for layer in layers.of_machine(vm)} | _pools_of_memory(vm)
    wanted = wanted_now(vm, clusters=frozenset([vm.host.cluster_id]), uses_reserve=True, processor=processor_of(vm))
    choice = choose(wanted, placement.sites(uses_reserve=True))
    others = Host.objects.select_related("cluster").filter(cluster=vm.host.cluster_id).exclude(pk=vm.host_id)
    targets = [_target(vm, host, pools.values(), choice) for host in others]
    return Precheck(is_live(vm), tuple(sorted(targets, key=lambda target: (bool(target.obstacles), target.host.name))))


def is_live(vm: VM) -> bool:
    return vm.observed_power != Power.STOPPED


def processor_of(vm: VM) -> str:
    """The accelerator that it is bound to while it runs."""
    return vm.host.accelerator if is_live(vm) else ""


def copied_to(vm: VM, reached: Mapping[UUID, StoragePool]) -> tuple[Volume, ...]:
    """The disks that stand on a file which the other host does not reach; `reached` as from reach.counterparts."""
    volumes = vm.volumes.select_related("layer__pool__storage_class")
    return tuple(volume for volume in volumes if any(pool not in reached for pool in _pools_below(volume)))


def is_transferred(vm: VM, copied: Iterable[Volume]) -> bool:
    """Whether a QEMU of the machine goes from host to host, or its definition alone.

    Of one that is off as well, where that carries the data of its disks or the variables of its firmware.
    """
    return is_live(vm) or bool(list(copied)) or vm.firmware == Firmware.UEFI


def _pools_below(volume: Volume) -> set[UUID]:
    found, layer = set(), volume.layer
    while layer is not None:
        found.add(layer.pool_id)
        layer = layer.parent  # type: ignore[assignment]
    return found


def _pools_of_memory(vm: VM) -> dict[UUID, StoragePool]:
    rows = Snapshot.objects.unscoped("of one in hand").filter(vm=vm).select_related("memory_pool")
    return {point.memory_pool.pk: point.memory_pool for point in rows if point.memory_pool}


def _target(vm: VM, host: Host, pools: Iterable[StoragePool], choice: Choice) -> Target:
    reached = reach.counterparts(pools, host)
    copied = copied_to(vm, reached)
    obstacles = [*_of_placement(host, choice), *_of_processor(vm, host)]
    if reason := service_class.why_not(vm.promise, host):
        obstacles.append(f"It cannot keep what the machine is promised: {reason}.")
    obstacles += _of_storage(vm, host, pools, reached, copied)
    if is_transferred(vm, copied) and not host.uri_for_peers:
        obstacles.append("Other hosts do not know how to reach it: set the address by which they do (`peer_uri`).")
    return Target(host, tuple(obstacles), copied)


def _of_placement(host: Host, choice: Choice) -> list[str]:
    refusal: Refusal | None = choice.refused.get(host.name)
    return [_REFUSED[refusal.constraint].format(refusal.detail)] if refusal else []


def _of_processor(vm: VM, host: Host) -> list[str]:
    """What a guest was shown when it started it must find there as well."""
    has_baseline = bool(host.cluster.cpu_model) or vm.host.accelerator == Accelerator.TCG
    if not is_live(vm) or has_baseline or host.cpu_model == vm.host.cpu_model:
        return []
    return [
        f"Its processor is {host.cpu_model}, that of the machine's host {vm.host.cpu_model}. "
        "Give the cluster a processor model that both have, or stop the machine first."
    ]


def _of_storage(
    vm: VM, host: Host, pools: Iterable[StoragePool], reached: Mapping[UUID, StoragePool], copied: Iterable[Volume]
) -> list[str]:
    classes = set(StoragePool.objects.filter(host=host, error="").values_list("storage_class_id", flat=True))
    found = [
        f"It has no storage of the class {volume.layer.pool.storage_class.name}, for the disk {volume.name}."
        for volume in copied
        if volume.layer.pool.storage_class_id not in classes
    ]
    snapshots = Snapshot.objects.unscoped("of one in hand").filter(vm=vm).exclude(state=SnapshotState.GONE)
    if any(pool.pk not in reached for pool in pools) and snapshots.exists():
        found.append("The machine's snapshots lie on storage that it does not reach. Delete them first.")
    return found
