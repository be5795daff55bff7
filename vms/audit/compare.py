"""One host's inventory against the rows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from hosts.driver.types import DomainFacts, Inventory, VolumeFacts
from vms.addresses import mac_for
from vms.audit import names
from vms.audit.definition import differences, running_differences
from vms.audit.definition import evidence as evidence_of
from vms.audit.findings import Finding, Kind
from vms.audit.rows import HostRow, Machine, Rows
from vms.models import Lifecycle


def findings(host: HostRow, inventory: Inventory, rows: Rows) -> Iterator[Finding]:
    yield from _Comparison(host, inventory, rows).findings()


def is_ours(domain: DomainFacts, pool: str) -> bool:
    """By its name or our mark; one whose disks lie in another pool belongs to another installation of Berth."""
    pools = {disk.pool for disk in domain.disks}
    return (domain.name.startswith("berth-") or domain.owner is not None) and (not pools or pool in pools)


def is_helper(domain: DomainFacts, pool: str) -> bool:
    """Whether it is of Berth's own making and holds nothing of anybody's, so that it may be removed while it is on.

    The guest of a preflight that was killed, which may hang for ever, or a copier that no operation has any more.
    """
    disks = [(disk.pool, disk.volume) for disk in domain.disks]
    if names.is_copier(domain.name):
        return domain.name.endswith(str(domain.uuid)) and [disk_pool for disk_pool, _ in disks] == [pool]
    return names.is_probe(domain.name) and disks == [(pool, domain.name)]


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

    def _is_settled(self, machine: Machine) -> bool:
        """What was built and is not about to go should be there in full; of a failed delete anything may be left."""
        return machine.lifecycle == Lifecycle.READY and machine.id not in self.rows.busy

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
            if is_ours(domain, self.host.pool):
                kind, words = Kind.DOMAIN_WITHOUT_VM, f"it is {domain.power}, and no machine has its id"
            volumes = [disk.volume for disk in domain.disks]
            helper = is_helper(domain, self.host.pool)
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
        if self.inventory.volumes is None:
            if self.host.is_checked and not self.is_being_checked:
                evidence = {"is": {"pool": "missing or off"}, "should": {"pool": self.host.pool}}
                yield self._finding(Kind.POOL_UNAVAILABLE, self.host.pool, "the storage pool cannot be used", evidence)
            return
        there = {volume.name: volume for volume in self.inventory.volumes}
        for machine in settled:
            for volume in machine.volumes:
                if volume not in there:
                    evidence = {"is": {"volume": "missing"}, "should": {"volume": volume}}
                    is_seed = volume in {cdrom.volume for cdrom in machine.spec.cdroms}
                    words = f"{machine.name} needs it"
                    yield self._of(machine, Kind.DISK_MISSING, volume, words, {**evidence, "can_be_made": is_seed})
            yield from self._changed_disks(machine, there)
        yield from self._missing_images(settled, there)
        yield from self._unknown_volumes(there)

    def _changed_disks(self, machine: Machine, there: Mapping[str, VolumeFacts]) -> Iterator[Finding]:
        """A larger one is let be: growth cannot be taken back, so a resize that failed may leave one."""
        for disk in machine.spec.disks:
            found, should = there.get(disk.volume), machine.disk_bytes[disk.volume]
            if found and (found.format != disk.format or found.capacity_bytes < should):
                present = {"format": found.format, "bytes": found.capacity_bytes}
                words = f"{machine.name} has another disk than was made for it"
                evidence = {"is": present, "should": {"format": disk.format, "bytes": should}}
                yield self._of(machine, Kind.DISK_CHANGED, disk.volume, words, evidence)

    def _missing_images(self, settled: list[Machine], there: Mapping[str, VolumeFacts]) -> Iterator[Finding]:
        """Machines share the image that their disks stand on, so it is told once."""
        needs: dict[str, list[Machine]] = {}
        for machine in settled:
            for volume in machine.volumes:
                backing = there[volume].backing if volume in there else None
                if backing is not None and backing not in there:
                    needs.setdefault(backing, []).append(machine)
        for image, machines in sorted(needs.items()):
            evidence = {"is": {"volume": "missing"}, "should": {"volume": image}, "is_image": True}
            words = f"{len(machines)} machines stand on it, {machines[0].name} among them"
            yield self._finding(Kind.DISK_MISSING, image, words, evidence)

    def _unknown_volumes(self, there: Mapping[str, VolumeFacts]) -> Iterator[Finding]:
        """Volumes are named by ids, so those of a pool that hosts share are told apart as well."""
        if self.is_being_checked:
            return
        backing = {volume.backing for volume in there.values()}  # an image that was replaced, on which disks stand
        users = {disk.volume: domain.name for domain in self.inventory.domains for disk in domain.disks}
        for name in sorted(set(there) - self.rows.names - backing):
            facts = {"bytes": there[name].allocation_bytes, "format": there[name].format}
            evidence = {"is": facts, "is_ours": names.is_ours(name), "user": users.get(name, "")}
            words = f"no machine has it, but {users[name]} does" if name in users else "no machine and no image has it"
            yield self._finding(Kind.VOLUME_WITHOUT_OWNER, name, words, evidence)
        if str(self.host.id) not in self.rows.busy_lanes:  # an image is brought by any operation that needs it
            for name in self.inventory.unfinished:
                evidence = {"is": {"volume": "unfinished"}, "is_ours": names.is_ours(name)}
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
            if mac == mac_for(self.host.id, there[mac]):  # kept for the next machine with this address
                continue
            words = f"no machine has it; {there[mac]} is kept for it"
            yield self._finding(Kind.ADDRESS_WITHOUT_OWNER, mac, words, {"is": {mac: there[mac]}})

    def _of(
        self, machine: Machine, kind: Kind, name: str, words: str, evidence: Mapping[str, Any] | None = None
    ) -> Finding:
        return Finding(kind, self.host.name, name, words, self.host.id, machine.id, evidence or {})

    def _finding(self, kind: Kind, name: str, words: str, evidence: Mapping[str, Any] | None = None) -> Finding:
        return Finding(kind, self.host.name, name, words, self.host.id, evidence=evidence or {})
