"""What of a real definition is not as it should be. Pure."""

from __future__ import annotations

from typing import Any

from hosts.driver.types import CdromSpec, DiskSpec, DomainFacts, DomainSpec


def is_size_only(domain: DomainFacts, spec: DomainSpec) -> bool:
    """Whether vCPUs and memory are all that differs."""
    is_like = {(disk.target, disk.volume) for disk in domain.disks} == {(d.target, d.volume) for d in _all_disks(spec)}
    return is_like and set(domain.macs) == {nic.mac for nic in spec.nics}


def differences(domain: DomainFacts, spec: DomainSpec) -> list[str]:
    """In words, one a difference: vCPUs, memory, disks, network interfaces. Empty where it is as it should be."""
    found = []
    for words, there, wanted in (
        ("vCPUs", (domain.vcpus, domain.vcpus_max), (spec.vcpus, spec.vcpus)),
        ("MiB of memory", (domain.memory_mib, domain.memory_max_mib), (spec.memory_mib, spec.memory_mib)),
    ):
        if there != wanted:
            found.append(f"{_amount(*there)} {words} instead of {wanted[0]}")
    found += _set("disk", {f"{disk.target} {disk.volume}".strip() for disk in domain.disks}, _disks(spec))
    found += _set("network interface", set(domain.macs), {nic.mac for nic in spec.nics})
    return found


def evidence(domain: DomainFacts, spec: DomainSpec) -> dict[str, Any]:
    """Both sides, and the size to take over where that is all that differs."""
    there = {"vcpus": domain.vcpus, "memory_mib": domain.memory_mib}
    wanted = {"vcpus": spec.vcpus, "memory_mib": spec.memory_mib}
    return {
        "is": {
            **there,
            "disks": sorted(f"{disk.target} {disk.volume}".strip() for disk in domain.disks),
            "network interfaces": sorted(domain.macs),
        },
        "should": {
            **wanted,
            "disks": sorted(_disks(spec)),
            "network interfaces": sorted(nic.mac for nic in spec.nics),
        },
        "size": there if is_size_only(domain, spec) else None,
    }


def _amount(now: int, most: int) -> str:
    return str(now) if now == most else f"{now} of {most}"


def _disks(spec: DomainSpec) -> set[str]:
    return {f"{disk.target} {disk.volume}" for disk in _all_disks(spec)}


def _all_disks(spec: DomainSpec) -> list[DiskSpec | CdromSpec]:
    return [*spec.disks, *spec.cdroms]


def _set(what: str, there: set[str], wanted: set[str]) -> list[str]:
    missing = [f"{what} {name} is missing" for name in sorted(wanted - there)]
    return missing + [f"{what} {name} was added" for name in sorted(there - wanted)]
