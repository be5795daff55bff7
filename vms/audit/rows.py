"""What the database says, as plain values that were read at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from hosts.driver.types import Accelerator, DomainSpec
from hosts.models import Host
from portal.core import clocks
from portal.core.connection import snapshot
from portal.operations.models import Operation, OperationHold
from portal.operations.states import ACTIVE, FINAL
from portal.quotas.models import Claim
from portal.tenancy.models import Tenant
from vms.design import domain_spec
from vms.models import VM, Disk, Image, Nic, Power

Amounts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine and the domain it should be. `size` is what it holds of its host, `disk_bytes` its disks' by volume.

    `off_since` is when it was first seen off, None where it was last seen otherwise.
    """

    id: UUID
    name: str
    tenant_id: UUID
    host_id: UUID
    lifecycle: str
    desired_power: str
    off_since: datetime | None
    size: Amounts
    disk_bytes: Mapping[str, int]
    spec: DomainSpec

    @property
    def volumes(self) -> list[str]:
        return [disk.volume for disk in self.spec.disks] + [cdrom.volume for cdrom in self.spec.cdroms]


@dataclass(frozen=True, slots=True)
class HostRow:
    """`is_checked`: its pool and its network were made."""

    id: UUID
    name: str
    pool: str
    network: str
    is_checked: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """`claims` are the amounts by account and holder; `accounts` their owners' words.

    `busy` has the ids of all that operations under way work on, or worked on since the hosts were read: what belongs
    to these may change under the reader's eyes. `busy_lanes` are the hosts of those operations. `names` are all volumes
    and MACs that a row has, or had before the hosts were read.
    """

    at: datetime
    hosts: Sequence[HostRow]
    machines: Mapping[UUID, Machine]
    names: frozenset[str]
    claims: Mapping[tuple[UUID, UUID], Amounts]
    accounts: Mapping[UUID, str]
    operations: Sequence[Operation]
    busy: frozenset[UUID]
    busy_lanes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Before:
    """What is noted before the hosts are read: a volume whose row goes meanwhile must not look as if it had none."""

    at: datetime
    names: frozenset[str]


def note() -> Before:
    at = timezone.now()
    disks = [disk.volume_name for disk in Disk.objects.all()]
    seeds = [VM(pk=id).seed_volume for id in VM.objects.unscoped("audit").values_list("pk", flat=True)]
    images = [image.file_name for image in Image.objects.unscoped("audit")]
    return Before(at, frozenset([*disks, *seeds, *images, *Nic.objects.values_list("mac", flat=True)]))


def load(before: Before) -> Rows:
    """All of it, as it is now. Specifications are made afterwards: on SQLite nobody else writes while this reads."""
    operations = Operation.objects.unscoped("audit")
    ended_since = Q(finished_at__range=(before.at, clocks.latest()))
    with snapshot():
        hosts = {host.pk: host for host in Host.objects.all()}
        tenants = dict(Tenant.objects.unscoped("audit").values_list("pk", "slug"))
        rows = operations.filter(Q(state__in=ACTIVE) | ended_since)
        lately = list(rows.annotate(now=Now()))
        held = OperationHold.objects.filter(operation__in=rows).values_list("object_id", flat=True)
        busy = frozenset([*held, *(operation.target_id for operation in lately)])
        vms, names, claims = _vms(), note().names, _claims()
    for vm in vms:
        vm.host = hosts[vm.host_id]
        # how guests run there may be unknown for the moment; it is not compared
        vm.host.accelerator = vm.host.accelerator or Accelerator.TCG
    return Rows(
        at=max((operation.now for operation in lately), default=before.at),  # the database's clock, as leases are
        hosts=[_host(host) for host in hosts.values()],
        machines={machine.id: machine for machine in map(_machine, vms)},
        names=before.names | names,
        claims=claims,
        accounts={**tenants, **{host.pk: host.name for host in hosts.values()}},
        operations=[operation for operation in lately if operation.state not in FINAL],
        busy=busy,
        busy_lanes=frozenset(operation.lane for operation in lately),
    )


def _host(host: Host) -> HostRow:
    return HostRow(host.pk, host.name, host.pool_name, host.network_name, host.checked_at is not None)


def _vms() -> list[VM]:
    return list(VM.objects.unscoped("audit").defer("user_data", "ssh_keys").prefetch_related("disks", "nics"))


def _machine(vm: VM) -> Machine:
    return Machine(
        id=vm.pk,
        name=vm.name,
        tenant_id=vm.tenant_id,
        host_id=vm.host_id,
        lifecycle=vm.lifecycle,
        desired_power=vm.desired_power,
        off_since=vm.observed_since if vm.observed_power == Power.STOPPED else None,
        size=vm.wanted,
        disk_bytes={disk.volume_name: disk.size_bytes for disk in vm.disks.all()},
        spec=domain_spec(vm, vm.host, 0),
    )


def _claims() -> dict[tuple[UUID, UUID], dict[str, int]]:
    found: dict[tuple[UUID, UUID], dict[str, int]] = {}
    for account_id, holder_id, resource, amount in Claim.objects.values_list(
        "account_id", "holder_id", "resource", "amount"
    ):
        found.setdefault((account_id, holder_id), {})[resource] = amount
    return found
