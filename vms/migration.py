"""Whether a machine can be moved to another host, what goes along, and what is in the way. Changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from hosts import placement, reach, service_class
from hosts.choice import Choice, Constraint, Refusal, Wanted, choose
from hosts.driver.types import Accelerator, Firmware
from hosts.models import Host, StoragePool
from hosts.service_class import Promise
from vms import layers
from vms.models import VM, Layer, Power, Snapshot, SnapshotState, Volume
from vms.wanted import Bond, asked, bonds_of

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
    Constraint.CLAIM: "It cannot keep what the machine is promised: {}.",
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


@dataclass(frozen=True)
class Candidate:
    """A machine that is to move: what it asks of any host, and what is in the way at each of its cluster, however much
    room there is. `beside` is what it claims of its host beside its size: other disks, snapshots."""

    vm: VM
    wanted: Wanted
    bonds: tuple[Bond, ...]
    beside: Mapping[str, int]
    targets: tuple[Target, ...]


def precheck(vm: VM) -> Precheck:
    """As things are now; the service asks again when it claims."""
    (found,) = survey([vm])
    choice = choose(found.wanted, placement.sites(uses_reserve=True))
    targets = [
        replace(target, obstacles=(*of_placement(target.host, choice), *target.obstacles)) for target in found.targets
    ]
    return Precheck(is_live(vm), tuple(sorted(targets, key=lambda target: (bool(target.obstacles), target.host.name))))


def survey(vms: Sequence[VM]) -> list[Candidate]:
    """Each of them, in this order; as many queries for one as for all."""
    files, neighbours, bonds = _Files(vms), _Neighbours(vms), bonds_of(vms)
    return [_candidate(vm, files, neighbours, bonds.get(vm.pk, ())) for vm in vms]


class _Files:
    """What machines have in pools, by their ids: their disks, and their snapshots."""

    def __init__(self, vms: Sequence[VM]) -> None:
        ids = [vm.pk for vm in vms]
        self.volumes: dict[UUID, list[Volume]] = defaultdict(list)
        self.points: dict[UUID, list[Snapshot]] = defaultdict(list)
        volumes = Volume.objects.unscoped("of those in hand").filter(vm__in=ids)
        for volume in volumes.select_related("layer__pool__storage_class"):
            self.volumes[volume.vm_id].append(volume)  # type: ignore[index]
        points = Snapshot.objects.unscoped("of those in hand").filter(vm__in=ids).select_related("memory_pool")
        for point in points.prefetch_related("disks__layer__pool"):
            self.points[point.vm_id].append(point)
        layers.read_below(layer for id in ids for layer in self._layers(id))

    def pools(self, vm: VM) -> list[StoragePool]:
        """Each once: of all layers, and of the memory of snapshots."""
        pools = [layer.pool for layer in layers.chains(self._layers(vm.pk))]
        pools += [point.memory_pool for point in self.points[vm.pk] if point.memory_pool]
        return list({pool.pk: pool for pool in pools}.values())

    def beside(self, vm: VM) -> Mapping[str, int]:
        disks = sum(volume.wanted.get("disk_gib", 0) for volume in self.volumes[vm.pk])
        return {"disk_gib": disks + sum(point.size_gib for point in self.points[vm.pk])}

    def _layers(self, vm_id: UUID) -> list[Layer]:
        of_points = [disk.layer for point in self.points[vm_id] for disk in point.disks.all()]
        return [volume.layer for volume in self.volumes[vm_id]] + of_points


class _Neighbours:
    """The hosts of their clusters, and the pools that these have."""

    def __init__(self, vms: Sequence[VM]) -> None:
        clusters = {vm.host.cluster_id for vm in vms}
        self._hosts = list(Host.objects.select_related("cluster").filter(cluster__in=clusters))
        self.pools: dict[UUID, list[StoragePool]] = defaultdict(list)
        for pool in StoragePool.objects.filter(host__in=self._hosts, error="").select_related("storage_class", "host"):
            self.pools[pool.host_id].append(pool)
        self._reached: dict[tuple[UUID, frozenset[UUID]], Mapping[UUID, StoragePool]] = {}
        self._promises: dict[tuple[UUID, Promise], str] = {}

    def of(self, vm: VM) -> list[Host]:
        return [host for host in self._hosts if host.cluster_id == vm.host.cluster_id and host.pk != vm.host_id]

    def reached(self, pools: Sequence[StoragePool], host: Host) -> Mapping[UUID, StoragePool]:
        """As reach.counterparts; once for all machines with files in the same pools."""
        key = host.pk, frozenset(pool.pk for pool in pools)
        if key not in self._reached:
            self._reached[key] = reach.counterparts_among(pools, self.pools[host.pk])
        return self._reached[key]

    def why_not(self, promise: Promise, host: Host) -> str:
        """Why it cannot be kept there; once for all machines with the same one."""
        key = host.pk, promise
        if key not in self._promises:
            self._promises[key] = service_class.why_not(promise, host)
        return self._promises[key]


def _candidate(vm: VM, files: _Files, neighbours: _Neighbours, bonds: tuple[Bond, ...]) -> Candidate:
    more = {
        "clusters": frozenset([vm.host.cluster_id]),
        "uses_reserve": True,
        "processor": processor_of(vm),
    }
    pools = files.pools(vm)
    targets = [_target(vm, host, pools, files, neighbours) for host in neighbours.of(vm)]
    return Candidate(vm, asked(vm, bonds, more), bonds, files.beside(vm), tuple(targets))


def is_live(vm: VM) -> bool:
    return vm.observed_power != Power.STOPPED


def processor_of(vm: VM) -> str:
    """The accelerator that it is bound to while it runs."""
    return vm.host.accelerator if is_live(vm) else ""


def copied_to(vm: VM, reached: Mapping[UUID, StoragePool]) -> tuple[Volume, ...]:
    """The disks that stand on a file which the other host does not reach; `reached` as from reach.counterparts."""
    return _copied(vm.volumes.select_related("layer__pool__storage_class"), reached)


def _copied(volumes: Iterable[Volume], reached: Mapping[UUID, StoragePool]) -> tuple[Volume, ...]:
    return tuple(
        volume for volume in volumes if any(layer.pool_id not in reached for layer in layers.chains([volume.layer]))
    )


def is_transferred(vm: VM, copied: Iterable[Volume]) -> bool:
    """Whether a QEMU of the machine goes from host to host, or its definition alone.

    Of one that is off as well, where that carries the data of its disks or the variables of its firmware.
    """
    return is_live(vm) or bool(list(copied)) or vm.firmware == Firmware.UEFI


def _target(vm: VM, host: Host, pools: Sequence[StoragePool], files: _Files, neighbours: _Neighbours) -> Target:
    """`pools` are those that the machine has files in."""
    reached = neighbours.reached(pools, host)
    copied = _copied(files.volumes[vm.pk], reached)
    obstacles = _of_processor(vm, host)
    if reason := neighbours.why_not(vm.promise, host):
        obstacles.append(words(Refusal(Constraint.CLAIM, reason)))
    if copied:
        obstacles += _of_storage(copied, {pool.storage_class_id for pool in neighbours.pools[host.pk]})
    if files.points[vm.pk] and any(pool.pk not in reached for pool in pools):
        obstacles += _of_snapshots(files.points[vm.pk])
    if is_transferred(vm, copied) and not host.uri_for_peers:
        obstacles.append("Other hosts do not know how to reach it: set its address for other hosts (`peer_uri`).")
    return Target(host, tuple(obstacles), copied)


def of_placement(host: Host, choice: Choice) -> list[str]:
    """Why placement passes it over, for people; nothing where it does not."""
    refusal = choice.refused.get(host.name)
    return [words(refusal)] if refusal else []


def words(refusal: Refusal) -> str:
    """As a sentence about that host, for administrators."""
    return _REFUSED[refusal.constraint].format(refusal.detail)


def _of_processor(vm: VM, host: Host) -> list[str]:
    """What a guest was shown when it started it must find there as well."""
    has_baseline = bool(host.cluster.cpu_model) or vm.host.accelerator == Accelerator.TCG
    if not is_live(vm) or has_baseline or host.cpu_model == vm.host.cpu_model:
        return []
    return [
        f"Its processor is {host.cpu_model}, that of the machine's host {vm.host.cpu_model}. "
        "Give the cluster a processor model that both have, or stop the machine first."
    ]


def _of_storage(copied: Iterable[Volume], classes: set[UUID]) -> list[str]:
    return [
        f"It has no storage of the class {volume.layer.pool.storage_class.name}, for the disk {volume.name}."
        for volume in copied
        if volume.layer.pool.storage_class_id not in classes
    ]


def _of_snapshots(points: Iterable[Snapshot]) -> list[str]:
    if all(point.state == SnapshotState.GONE for point in points):
        return []
    return ["The machine's snapshots lie on storage that it does not reach. Delete them first."]
