"""One host's inventory against the rows. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from hosts.driver.types import DomainFacts, Inventory, PoolContents, VolumeFacts
from portal.core.units import GIB
from vms.addresses import mac_for
from vms.audit import names
from vms.audit.definition import differences, running_differences
from vms.audit.definition import evidence as evidence_of
from vms.audit.findings import Finding, Kind
from vms.audit.rows import File, HostRow, Machine, Rows


def findings(host: HostRow, inventory: Inventory, rows: Rows) -> Iterator[Finding]:
    yield from _Comparison(host, inventory, rows).findings()


def is_ours(domain: DomainFacts, pools: Collection[str]) -> bool:
    """By its name or our mark; one whose disks lie in other pools belongs to another installation of Berth."""
    its = {disk.pool for disk in domain.disks}
    return (domain.name.startswith("berth-") or domain.owner is not None) and (not its or not its.isdisjoint(pools))


def is_helper(domain: DomainFacts, pools: Collection[str]) -> bool:
    """Whether it is of Berth's own making and holds nothing of anybody's, so that it may be removed while it is on.

    The guest of a preflight that was killed, which may hang for ever, or a helper that no operation has any more.
    """
    disks = [(disk.pool, disk.volume) for disk in domain.disks]
    if names.is_helper(domain.name):
        return domain.name.endswith(str(domain.uuid)) and [pool in pools for pool, _ in disks] == [True]
    return names.is_probe(domain.name) and [volume for pool, volume in disks if pool in pools] == [domain.name]


@dataclass(frozen=True)
class _Comparison:
    host: HostRow
    inventory: Inventory
    rows: Rows

    def findings(self) -> Iterator[Finding]:
        here = [machine for machine in self.rows.machines.values() if machine.host_id == self.host.id]
        settled = [machine for machine in here if self._is_settled(machine)]
        yield from self._domains(settled)
        yield from self._unknown_domains()
        yield from self._volumes(settled)
        yield from self._addresses(settled)
        yield from self._duplicates()
        yield from self._duplicate_addresses()

    def _is_settled(self, machine: Machine) -> bool:
        """What was built and is not about to go should be there in full; of a failed delete anything may be left."""
        return machine.is_settled and machine.id not in self.rows.busy

    def _domains(self, settled: list[Machine]) -> Iterator[Finding]:
        there = {domain.uuid: domain for domain in self.inventory.domains}
        for machine in settled:
            domain = there.get(machine.id)
            if domain is None:
                evidence = {"is": {"domain": "not defined"}, "should": {"domain": machine.spec.name}}
                words = f"{machine.name} is not defined on its host"
                yield self._of(machine, Kind.UNDEFINED_OUTSIDE, machine.spec.name, words, evidence)
                continue
            if found := differences(domain, machine.spec):
                words = f"{machine.name} has {'; '.join(found)}"
                yield self._of(machine, Kind.DEFINITION_CHANGED, domain.name, words, evidence_of(domain, machine.spec))
            if found := running_differences(domain, machine.spec):
                words = f"of {machine.name} as it runs, {'; '.join(found)}"
                yield self._of(machine, Kind.RUNNING_CHANGED, domain.name, words)

    def _duplicates(self) -> Iterator[Finding]:
        """Machines that belong on another host, and are defined here too."""
        for domain in self.inventory.domains:
            machine = self.rows.machines.get(domain.uuid)
            if machine is not None and machine.host_id != self.host.id and machine.id not in self.rows.busy:
                own = str(self.rows.accounts.get(machine.host_id, ""))
                words = f"{machine.name} belongs on {own}, and is {domain.power} here as well"
                evidence = {"is": {"host": self.host.name, "power": domain.power}, "should": {"host": own}}
                yield self._of(machine, Kind.DUPLICATE_DOMAIN, domain.name, words, evidence)

    def _duplicate_addresses(self) -> Iterator[Finding]:
        """Guests that answer to one MAC, and so to one address; one of them at least is Berth's."""
        users: dict[str, list[DomainFacts]] = {}
        for domain in self.inventory.domains:
            for mac in domain.macs:
                users.setdefault(mac, []).append(domain)
        for mac, those in sorted(users.items()):
            own = [self.rows.machines[domain.uuid] for domain in those if domain.uuid in self.rows.machines]
            is_settled = self.rows.busy.isdisjoint(domain.uuid for domain in those)
            if len(those) > 1 and is_settled and (own or any(is_ours(domain, self.host.pools) for domain in those)):
                ids = {machine.id: machine.name for machine in own}
                told = sorted(f"{ids.get(domain.uuid, domain.name)} ({domain.power})" for domain in those)
                words = f"{' and '.join(told)} have the same MAC, and so the same address"
                vm_id = own[0].id if own else None
                yield self._finding(Kind.DUPLICATE_ADDRESS, mac, words, {"is": {"domains": told}}, vm_id)

    @property
    def is_being_checked(self) -> bool:
        """Its check makes the pool and the network, and a guest with a disk that are gone in a moment."""
        return self.host.id in self.rows.busy

    def _unknown_domains(self) -> Iterator[Finding]:
        if self.is_being_checked:
            return
        for domain in self.inventory.domains:
            if domain.uuid in self.rows.machines or domain.uuid in self.rows.busy:
                continue
            kind, words = Kind.FOREIGN_DOMAIN, f"it is {domain.power}, and not Berth's"
            if is_ours(domain, self.host.pools):
                kind, words = Kind.DOMAIN_WITHOUT_VM, f"it is {domain.power}, and no machine has its id"
            elif names.is_short_lived(domain.name):  # another installation is at work
                continue
            volumes = [disk.volume for disk in domain.disks]
            helper = is_helper(domain, self.host.pools)
            if (shared := self._machines_of(volumes)) and not helper:
                words += f"; it has the disk of {', '.join(shared)}, and both would write to it"
            facts = {"power": domain.power, "vcpus": domain.vcpus, "memory_mib": domain.memory_mib, "disks": volumes}
            evidence = {"is": facts, "uuid": str(domain.uuid), "is_helper": helper}
            yield self._finding(kind, domain.name, words, evidence)

    def _machines_of(self, volumes: list[str]) -> list[str]:
        """Whose volumes are among these; of those given by their path, too."""
        own = {volume: machine.name for machine in self.rows.machines.values() for volume in machine.volumes}
        return sorted({own[name] for volume in volumes if (name := PurePosixPath(volume).name) in own})

    def _volumes(self, settled: list[Machine]) -> Iterator[Finding]:
        for pool in self.host.pools:
            contents = self.inventory.pools.get(pool)
            if contents is not None:
                yield from self._pool(pool, contents, settled)
            elif self.host.is_checked and not self.is_being_checked:
                evidence = {"is": {"pool": "missing or off"}, "should": {"pool": pool}}
                yield self._finding(Kind.POOL_UNAVAILABLE, pool, "the storage pool cannot be used", evidence)

    def _pool(self, pool: str, contents: PoolContents, settled: list[Machine]) -> Iterator[Finding]:
        there = {volume.name: volume for volume in contents.volumes}
        for machine in settled:
            for cdrom in machine.spec.cdroms:
                if cdrom.pool == pool and cdrom.volume not in there:
                    evidence = {"is": {"volume": "missing"}, "should": {"volume": cdrom.volume}, "can_be_made": True}
                    yield self._of(machine, Kind.DISK_MISSING, cdrom.volume, f"{machine.name} needs it", evidence)
        files = [file for file in self.rows.files if (file.host_id, file.pool) == (self.host.id, pool)]
        settled_files = [file for file in files if self.rows.busy.isdisjoint(file.owners)]
        for file in settled_files:
            yield from self._file(file, there.get(file.name))
        yield from self._missing_images(settled_files, there)
        yield from self._unknown_volumes(pool, contents, there)

    def _file(self, file: File, found: VolumeFacts | None) -> Iterator[Finding]:
        name = self._name_of(file)
        backing = file.backing or (found.backing if found else None)  # an image may have been replaced since
        if found is None:
            evidence = {"is": {"volume": "missing"}, "should": {"volume": file.name}, "can_be_made": False}
            yield self._finding(Kind.DISK_MISSING, file.name, f"{name} needs it", evidence, file.vm_id)
        elif (found.format, found.backing) != ("qcow2", backing) or found.capacity_bytes < file.bytes:
            present = {"format": found.format, "bytes": found.capacity_bytes, "backing": found.backing}
            should = {"format": "qcow2", "bytes": file.bytes, "backing": backing}
            words = f"{name} has another disk than was made for it"
            yield self._finding(Kind.DISK_CHANGED, file.name, words, {"is": present, "should": should}, file.vm_id)
        elif found.capacity_bytes > file.bytes and file.is_boot is not None:
            there, rest = divmod(found.capacity_bytes, GIB)
            # other volumes are grown to that size by their owner, which changes nothing on the host
            size = {"disk_gib": there} if file.is_boot and file.vm_id and not rest else None
            present, should = {"bytes": found.capacity_bytes}, {"bytes": file.bytes}
            words = f"{name} has a larger disk than it holds of its quota and its host"
            evidence = {"is": present, "should": should, "size": size}
            yield self._finding(Kind.DISK_LARGER, file.name, words, evidence, file.vm_id)

    def _name_of(self, file: File) -> str:
        machine = self.rows.machines.get(file.vm_id) if file.vm_id else None
        return machine.name if machine else file.what

    def _missing_images(self, files: list[File], there: Mapping[str, VolumeFacts]) -> Iterator[Finding]:
        """Machines share the image that their disks stand on, so it is told once."""
        own = {file.name for file in files}
        needs: dict[str, list[File]] = {}
        for file in files:
            backing = there[file.name].backing if file.name in there else None
            if backing is not None and backing not in there and backing not in own:
                needs.setdefault(backing, []).append(file)
        for image, standing in sorted(needs.items()):
            evidence = {"is": {"volume": "missing"}, "should": {"volume": image}, "is_image": True}
            words = f"{len(standing)} disks stand on it, that of {self._name_of(standing[0])} among them"
            yield self._finding(Kind.DISK_MISSING, image, words, evidence)

    def _unknown_volumes(
        self, pool: str, contents: PoolContents, there: Mapping[str, VolumeFacts]
    ) -> Iterator[Finding]:
        """Volumes are named by ids, so those of a pool that hosts share are told apart as well."""
        first, *others = self.host.shared.get(pool, (self.host.id,))
        if first != self.host.id or not self.rows.busy.isdisjoint([first, *others]):  # one may be checked there
            return
        backing = {volume.backing for volume in there.values()}  # an image that was replaced, on which disks stand
        users = {disk.volume: domain.name for domain in self.inventory.domains for disk in domain.disks}
        strays = {name for name in there if self.rows.is_stray(self.host.id, pool, name)}
        for name in sorted(set(there) - self.rows.names - backing | strays):
            facts = {"bytes": there[name].allocation_bytes, "format": there[name].format}
            evidence = {"is": facts, "is_ours": names.is_ours(name), "user": users.get(name, ""), "pool": pool}
            words = f"no machine has it, but {users[name]} does" if name in users else "no machine and no image has it"
            yield self._finding(Kind.VOLUME_WITHOUT_OWNER, name, words, evidence)
        for name in sorted(set(contents.unfinished) - self.rows.moving):
            evidence = {"is": {"volume": "unfinished"}, "is_ours": names.is_ours(name), "pool": pool}
            yield self._finding(Kind.UNFINISHED_VOLUME, name, "its upload ended half-way", evidence)

    def _addresses(self, settled: list[Machine]) -> Iterator[Finding]:
        there = self.inventory.dhcp_hosts
        if there is None:
            if self.host.is_checked and not self.is_being_checked:
                evidence = {"is": {"network": "missing or off"}, "should": {"network": self.host.network}}
                yield self._finding(
                    Kind.NETWORK_UNAVAILABLE, self.host.network, "the network is missing or off", evidence
                )
            return
        for machine in settled:
            for nic in machine.spec.nics:
                if there.get(nic.mac) != nic.ip:
                    words = f"{machine.name} should have {nic.ip} by DHCP"
                    addresses = {"is": {nic.mac: there.get(nic.mac)}, "should": {nic.mac: nic.ip}}
                    yield self._of(machine, Kind.ADDRESS_MISSING, nic.mac, words, addresses)
        for mac in sorted(set(there) - self.rows.names):
            if mac == mac_for(self.host.cluster_id, there[mac]):  # kept for the next machine with this address
                continue
            words = f"no machine has it; {there[mac]} is kept for it"
            yield self._finding(Kind.ADDRESS_WITHOUT_OWNER, mac, words, {"is": {mac: there[mac]}})

    def _of(
        self, machine: Machine, kind: Kind, name: str, words: str, evidence: Mapping[str, Any] | None = None
    ) -> Finding:
        return Finding(kind, self.host.name, name, words, self.host.id, machine.id, evidence or {})

    def _finding(
        self,
        kind: Kind,
        name: str,
        words: str,
        evidence: Mapping[str, Any] | None = None,
        vm_id: UUID | None = None,
    ) -> Finding:
        return Finding(kind, self.host.name, name, words, self.host.id, vm_id, evidence or {})
