"""What the database says, as plain values that were read at one moment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db.models import Max, Q
from django.db.models.functions import Now
from django.utils import timezone

from hosts.driver.types import Accelerator, DomainSpec
from hosts.models import BackupTarget, Host, StoragePool, TargetReach
from hosts.reach import TOKEN, are_two, sharers, tokens
from portal.billing import metering
from portal.core import clocks
from portal.core.connection import snapshot
from portal.core.units import GIB
from portal.operations.models import Operation, OperationHold
from portal.operations.states import ACTIVE, FINAL
from portal.quotas.models import Claim
from portal.tenancy.models import Tenant
from vms.audit import names
from vms.design import domain_spec
from vms.metered import holdings as metered_now
from vms.models import (
    VM,
    Backup,
    BackupDisk,
    BackupState,
    Image,
    ImageCopy,
    ImageUpload,
    Layer,
    Nic,
    Power,
    Snapshot,
    Volume,
)
from vms.models.catalogue import image_file
from vms.observed import LOADS_WHAT_IS_OFF

Amounts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine and the domain it should be. `off_since` is when it was first seen off, None where it was last not.

    `is_settled`: all of it should be on its host, and nobody changes that now but by an operation. `was_loaded`: since
    it is off, Berth itself has loaded it for its disks' sake, and ended that again.
    """

    id: UUID
    name: str
    tenant_id: UUID
    host_id: UUID
    lifecycle: str
    is_settled: bool
    is_binned: bool
    wanted_power: str
    off_since: datetime | None
    seed_token: str
    was_loaded: bool
    spec: DomainSpec

    @property
    def volumes(self) -> list[str]:
        return [disk.volume for disk in self.spec.disks] + [cdrom.volume for cdrom in self.spec.cdroms]


@dataclass(frozen=True, slots=True)
class File:
    """A layer as it should lie in a pool of its host; `backing` is the file of its parent, None where it has none.

    `owners` are all that a change of it would touch: its volumes and their machines, also those of what stands on it.
    `vm_id` is the machine that has it, where that is one alone; otherwise `what` says whose it is. `is_boot`: it is the
    disk that a machine starts from; None for what is no disk.
    """

    host_id: UUID
    pool: str
    name: str
    backing: str | None
    bytes: int
    owners: frozenset[UUID]
    vm_id: UUID | None
    what: str = "a volume"
    is_boot: bool | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """What a row should hold, by account."""

    name: str
    wanted: Mapping[UUID, Amounts]
    vm_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class HostRow:
    """`pool` is the default one of its `pools`. `is_checked`: its default pool and its network were made.

    `shared` has those of the pools that other hosts see as well, each with all of these hosts: what nobody has there is
    told of the first one. `tokens` are what its pools were recognised by, "" for nothing.
    """

    id: UUID
    cluster_id: UUID
    name: str
    pool: str
    pools: Sequence[str]
    network: str
    is_checked: bool
    shared: Mapping[str, Sequence[UUID]] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(default_factory=dict)
    has_failed: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """`claims` are the amounts by account and holder; `accounts` their owners' words.

    `busy` has the ids of all that operations under way work on, or worked on since the hosts were read: what belongs
    to these may change under the reader's eyes. `moving` are the volumes among it, the images that these operations may
    be bringing, and files of backups under way, by whichever host. `unneeded` are the layers that no volume and no
    snapshot stands on, with words for where they lie. `names` are all volumes and MACs that a row has, or
    had before the hosts were read. `resources` is what there is to be metered, `metered` the amounts by
    the intervals that are open.
    """

    at: datetime
    hosts: Sequence[HostRow]
    machines: Mapping[UUID, Machine]
    files: Sequence[File]
    unneeded: Mapping[UUID, str]
    holdings: Mapping[UUID, Holding]
    names: frozenset[str]
    claims: Mapping[tuple[UUID, UUID], Amounts]
    accounts: Mapping[UUID, str]
    operations: Sequence[Operation]
    busy: frozenset[UUID]
    moving: frozenset[str]
    resources: Mapping[UUID, metering.Holding]
    metered: Mapping[UUID, Mapping[metering.Key, int]]

    def is_stray(self, host_id: UUID, pool: str, name: str) -> bool:
        """Whether it is a seed, with what its owner entrusted to it, that has stayed here when its machine left."""
        id = names.machine_of_seed(name)
        machine = self.machines.get(id) if id else None
        if machine is None or machine.id in self.busy:
            return False
        host = next(host for host in self.hosts if host.id == host_id)
        return are_two(host.tokens.get(pool, ""), machine.seed_token)


@dataclass(frozen=True, slots=True)
class Before:
    """What is noted before the hosts are read: a volume whose row goes meanwhile must not look as if it had none."""

    at: datetime
    names: frozenset[str]


def note() -> Before:
    at = timezone.now()
    disks = [layer.file_name for layer in Layer.objects.only("pk")]
    seeds = [VM(pk=id).seed_volume for id in VM.objects.unscoped("audit").values_list("pk", flat=True)]
    images = _image_files()
    backups = [file.file_name for file in BackupDisk.objects.only("pk")]
    memories = [Snapshot(pk=id).memory_volume for id in Snapshot.objects.unscoped("audit").values_list("pk", flat=True)]
    markers = [target.marker for target in BackupTarget.objects.all()]
    macs = Nic.objects.values_list("mac", flat=True)
    return Before(at, frozenset([TOKEN, *disks, *seeds, *images, *backups, *memories, *markers, *macs]))


def _image_files() -> list[str]:
    """Of images, also of some that are gone by now, and what is copied to become one."""
    copies = ImageCopy.objects.order_by().values_list("pk", "sha256")
    rows = Image.objects.unscoped("audit").order_by().values_list("pk", "sha256").union(copies)
    return [_file_of(id, sha256) for id, sha256 in rows]


def _file_of(image_id: UUID, sha256: str) -> str:
    """In a pool. One that is copied to become an image has no checksum yet."""
    return image_file(sha256) if sha256 else f"{image_id}.qcow2"


def load(before: Before) -> Rows:
    """All of it, as it is now. Specifications are made afterwards: on SQLite nobody else writes while this reads."""
    operations = Operation.objects.unscoped("audit")
    ended_since = Q(finished_at__range=(before.at, clocks.latest()))
    with snapshot():
        metered = metering.open_amounts()
        resources = {holding.resource_id: holding for holding in metered_now()}
        hosts = {host.pk: host for host in Host.objects.select_related("cluster")}
        tenants = dict(Tenant.objects.unscoped("audit").values_list("pk", "slug"))
        rows = operations.filter(Q(state__in=ACTIVE) | ended_since)
        lately = list(rows.annotate(now=Now()))
        held = OperationHold.objects.filter(operation__in=rows).values_list("object_id", flat=True)
        busy = frozenset([*held, *(operation.target_id for operation in lately)])
        vms, layers, named, claims = _vms(), list(Layer.objects.select_related("pool")), note().names, _claims()
        loaded = _loaded(vms)
        volumes = list(Volume.objects.unscoped("audit").select_related("layer__pool"))
        images = list(Image.objects.unscoped("audit"))
        uploads = list(ImageUpload.objects.unscoped("audit").filter(finished_at=None))
        snapshots = list(Snapshot.objects.unscoped("audit").select_related("vm").prefetch_related("disks"))
        pools, shared, known = pools_of(hosts.values()), sharers(), tokens()
        backups = list(Backup.objects.unscoped("audit"))
        backup_files = _backup_files()
        unfinished = BackupDisk.objects.filter(backup__state=BackupState.RUNNING)
        being_written = frozenset(file.file_name for file in unfinished.only("pk"))
    for vm in vms:
        vm.host = hosts[vm.host_id]
        # how guests run there may be unknown for the moment; it is not compared
        vm.host.accelerator = vm.host.accelerator or Accelerator.TCG
    owners = _owners(layers, volumes, snapshots)
    boots = {volume.layer_id for volume in volumes if volume.is_boot}
    memories = {point.memory_volume for point in snapshots if point.vm_id in busy}
    return Rows(
        at=max((operation.now for operation in lately), default=before.at),  # the database's clock, as leases are
        hosts=[_host(host, pools[host.pk], shared, known) for host in hosts.values()],
        machines={machine.id: machine for machine in (_machine(vm, known, loaded) for vm in vms)},
        files=[*_files(layers, owners, boots, {vm.pk: vm for vm in vms}), *backup_files],
        unneeded={layer.pk: _place(layer, hosts) for layer in layers if not owners[layer.pk]},
        holdings={**dict(_holdings(vms, volumes, images, uploads, backups)), **dict(_of_snapshots(snapshots))},
        names=before.names | named,
        claims=claims,
        accounts={**tenants, **{host.pk: host.name for host in hosts.values()}},
        operations=[operation for operation in lately if operation.state not in FINAL],
        busy=busy,
        resources=resources,
        metered=metered,
        moving=_moving(busy, vms, owners, layers, images) | being_written | memories,
    )


def pools_of(hosts: Iterable[Host]) -> Mapping[UUID, list[str]]:
    """The names of the pools that each host should have; not of those that it is only about to get. One query."""
    found: dict[UUID, list[str]] = {host.pk: [] for host in hosts}
    rows = StoragePool.objects.filter(Q(is_default=True) | Q(checked_at__isnull=False), host_id__in=found)
    for host_id, name in rows.values_list("host_id", "name"):
        found[host_id].append(name)
    for host_id, target in readers_of_targets().items():
        if host_id in found:
            found[host_id] += [each.pool_name for each in target]
    return found


def readers_of_targets() -> Mapping[UUID, list[BackupTarget]]:
    """By host the backup targets that are read from there: many see the same directory, and one is enough."""
    reaches = TargetReach.objects.filter(is_reached=True).select_related("target").order_by("target_id", "host__name")
    readers: dict[UUID, TargetReach] = {}
    for reach in reaches:
        readers.setdefault(reach.target_id, reach)
    found: dict[UUID, list[BackupTarget]] = {}
    for reach in readers.values():
        found.setdefault(reach.host_id, []).append(reach.target)
    return found


def _host(
    host: Host,
    pools: Sequence[str],
    shared: Mapping[tuple[UUID, str], Sequence[UUID]],
    tokens: Mapping[tuple[UUID, str], str],
) -> HostRow:
    return HostRow(
        id=host.pk,
        cluster_id=host.cluster_id,
        name=host.name,
        pool=host.pool_name,
        pools=pools,
        network=host.network_name,
        is_checked=host.checked_at is not None,
        shared={pool: shared[host.pk, pool] for pool in pools if (host.pk, pool) in shared},
        tokens={pool: tokens.get((host.pk, pool), "") for pool in pools},
        has_failed=host.has_failed,
    )


def _vms() -> list[VM]:
    rows = VM.objects.unscoped("audit").defer("user_data", "ssh_keys")
    return list(rows.select_related("image").prefetch_related("volumes__layer__pool__storage_class", "nics"))


def _loaded(vms: Iterable[VM]) -> frozenset[UUID]:
    """Machines that are off, not by their owners' wish, and that an operation loaded to read their disks since."""
    off = {vm.pk: vm.observed_since for vm in vms if _is_off_unasked(vm) and vm.observed_since}
    rows = Operation.objects.unscoped("audit").filter(kind__in=LOADS_WHAT_IS_OFF, target_id__in=off)
    ended = rows.exclude(finished_at=None).order_by().values_list("target_id").annotate(Max("finished_at"))
    return frozenset(id for id, at in ended if at >= off[id])


def _is_off_unasked(vm: VM) -> bool:
    return vm.observed_power == Power.STOPPED and vm.wanted_power != Power.STOPPED


def _owners(
    layers: Sequence[Layer], volumes: Sequence[Volume], snapshots: Sequence[Snapshot]
) -> Mapping[UUID, set[UUID]]:
    """Of each layer, the volumes that stand on it, and their machines."""
    by_id = {layer.pk: layer for layer in layers}
    owners: dict[UUID, set[UUID]] = {id: set() for id in by_id}
    for layer_id, its in _users(volumes, snapshots):
        layer: Layer | None = by_id.get(layer_id)
        while layer is not None:
            owners[layer.pk] |= its
            layer = by_id.get(layer.parent_id) if layer.parent_id else None
    return owners


def _users(volumes: Sequence[Volume], snapshots: Sequence[Snapshot]) -> Iterator[tuple[UUID, set[UUID]]]:
    """Layers that are somebody's by themselves, and whose."""
    for volume in volumes:
        yield volume.layer_id, {volume.pk, *([volume.vm_id] if volume.vm_id else [])}
    for point in snapshots:
        for disk in point.disks.all():
            yield disk.layer_id, {disk.volume_id, point.vm_id}


def _files(
    layers: Sequence[Layer], owners: Mapping[UUID, set[UUID]], boots: Collection[UUID], vms: Mapping[UUID, VM]
) -> list[File]:
    """Of machines that are built and not about to go; of a failed delete anything may be left. None of nobody's."""
    unsettled = {id for id, vm in vms.items() if not vm.is_settled}
    by_id = {layer.pk: layer for layer in layers}
    found = []
    for layer in layers:
        if owners[layer.pk] and unsettled.isdisjoint(owners[layer.pk]):
            found.append(_file(layer, by_id, owners[layer.pk], layer.pk in boots, vms))
    return found


def _place(layer: Layer, hosts: Mapping[UUID, Host]) -> str:
    return f"{layer.file_name} in {layer.pool.name} of {hosts[layer.pool.host_id].name}"


def _file(layer: Layer, by_id: Mapping[UUID, Layer], owners: set[UUID], is_boot: bool, vms: Mapping[UUID, VM]) -> File:
    machines = [id for id in owners if id in vms]
    return File(
        host_id=layer.pool.host_id,
        pool=layer.pool.name,
        name=layer.file_name,
        backing=by_id[layer.parent_id].file_name if layer.parent_id else None,
        bytes=layer.size_bytes,
        owners=frozenset([layer.pk, *owners]),
        vm_id=machines[0] if len(machines) == 1 else None,
        is_boot=is_boot,
    )


def _moving(
    busy: frozenset[UUID],
    vms: Sequence[VM],
    owners: Mapping[UUID, set[UUID]],
    layers: Sequence[Layer],
    images: Sequence[Image],
) -> frozenset[str]:
    own = [vm for vm in vms if vm.pk in busy]
    files = [layer.file_name for layer in layers if layer.pk in busy or not owners[layer.pk].isdisjoint(busy)]
    brought = [image for image in images if image.pk in busy | {vm.image_id for vm in own}]
    seeds = [vm.seed_volume for vm in own]
    return frozenset([*files, *seeds, *(_file_of(image.pk, image.sha256) for image in brought)])


def _backup_files() -> list[File]:
    """Of complete ones, each on the host that its target is read from."""
    hosts = {target.pk: id for id, targets in readers_of_targets().items() for target in targets}
    rows = BackupDisk.objects.filter(backup__state=BackupState.READY, backup__target__in=list(hosts))
    return [
        File(
            host_id=hosts[file.backup.target_id],
            pool=file.backup.target.pool_name,
            name=file.file_name,
            backing=file.parent.file_name if file.parent else None,
            bytes=file.size_gib * GIB,
            owners=frozenset(
                id for id in (file.backup_id, file.parent.backup_id if file.parent else None) if id is not None
            ),
            vm_id=None,
            what=f"the {file.backup}",
        )
        for file in rows.select_related("backup__target", "parent")
    ]


def _holdings(
    vms: Sequence[VM],
    volumes: Sequence[Volume],
    images: Sequence[Image],
    uploads: Sequence[ImageUpload],
    backups: Sequence[Backup],
) -> Iterator[tuple[UUID, Holding]]:
    """Whatever holds something: each kind of row by its own words."""
    for vm in vms:
        yield vm.pk, Holding(vm.name, {vm.tenant_id: {"vms": 1, **vm.wanted}, vm.host_id: vm.wanted_of_host}, vm.pk)
    for volume in volumes:
        if volume.wanted:
            accounts = (volume.tenant_id, volume.layer.pool.host_id)
            yield volume.pk, Holding(volume.name, dict.fromkeys(accounts, volume.wanted), volume.vm_id)
    for upload in uploads:
        yield upload.pk, Holding(upload.name, {upload.tenant_id: upload.wanted})
    for image in images:
        if image.tenant_id is not None:
            yield image.pk, Holding(image.name, {image.tenant_id: image.wanted})
    for backup in backups:
        yield backup.pk, Holding(str(backup), {backup.tenant_id: backup.wanted}, backup.vm_id)


def _of_snapshots(snapshots: Sequence[Snapshot]) -> Iterator[tuple[UUID, Holding]]:
    for point in snapshots:
        wanted = {point.tenant_id: point.wanted, point.vm.host_id: {"disk_gib": point.size_gib}}
        yield point.pk, Holding(point.name, wanted, point.vm_id)


def _machine(vm: VM, tokens: Mapping[tuple[UUID, str], str], loaded: Collection[UUID]) -> Machine:
    return Machine(
        id=vm.pk,
        name=vm.name,
        tenant_id=vm.tenant_id,
        host_id=vm.host_id,
        lifecycle=vm.lifecycle,
        is_settled=vm.is_settled,
        is_binned=vm.is_binned,
        wanted_power=vm.wanted_power,
        off_since=vm.observed_since if vm.observed_power == Power.STOPPED else None,
        seed_token=tokens.get((vm.host_id, vm.host.pool_name), ""),
        was_loaded=vm.pk in loaded,
        spec=domain_spec(vm, vm.host, 0),
    )


def _claims() -> dict[tuple[UUID, UUID], dict[str, int]]:
    found: dict[tuple[UUID, UUID], dict[str, int]] = {}
    for account_id, holder_id, resource, amount in Claim.objects.values_list(
        "account_id", "holder_id", "resource", "amount"
    ):
        found.setdefault((account_id, holder_id), {})[resource] = amount
    return found
