"""Everything that a host has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from hosts.driver.memory.state import Calls, MemoryHost
from hosts.driver.types import (
    CdromSpec,
    DiskFacts,
    DiskSpec,
    DomainFacts,
    DomainSpec,
    Inventory,
    PoolContents,
    PowerState,
    Reason,
)
from hosts.driver.xml import outline


class InventoryCalls(Calls):
    def inventory(self, pools: Sequence[str], network: str) -> Inventory:
        with self._call("inventory") as host:
            return Inventory(
                domains=tuple(_domain_facts(host, uuid) for uuid in host.domains),
                pools={name: _contents(host, name) for name in pools},
                dhcp_hosts=dict(host.dhcp_hosts[network]) if network in host.networks else None,
            )


def _contents(host: MemoryHost, pool: str) -> PoolContents | None:
    if pool not in host.pools:
        return None
    volumes = tuple(volume for (place, _), volume in host.volumes.items() if place == pool)
    return PoolContents(volumes, tuple(sorted(name for place, name in host.unfinished if place == pool)))


def _domain_facts(host: MemoryHost, uuid: UUID) -> DomainFacts:
    spec, power = host.domains[uuid]
    disks: list[DiskSpec | CdromSpec] = [*spec.disks, *spec.cdroms]
    return DomainFacts(
        uuid=spec.uuid,
        name=spec.name,
        power=power,
        owner=spec.owner or None,
        vcpus=spec.vcpus,
        vcpus_max=spec.vcpus,
        memory_mib=spec.memory_mib,
        memory_max_mib=spec.memory_mib,
        disks=tuple(DiskFacts(disk.target, disk.pool, disk.volume) for disk in disks),
        outline=outline.of_spec(spec),
        running_outline=outline.of_spec(_as_it_runs(host, spec)) if uuid in host.running else None,
        reason=Reason.NONE if power is PowerState.RUNNING else host.reasons.get(uuid, Reason.UNKNOWN),
        macs=frozenset(nic.mac.lower() for nic in spec.nics),
    )


def _as_it_runs(host: MemoryHost, spec: DomainSpec) -> DomainSpec:
    return replace(spec, disks=tuple(host.running[spec.uuid].values()))
