"""What of a real definition is not as it should be. Pure."""

from __future__ import annotations

from hosts.driver.types import DomainFacts, DomainSpec


def differences(domain: DomainFacts, spec: DomainSpec) -> list[str]:
    """In words, one a difference: vCPUs, memory, disks, network interfaces. Empty where it is as it should be."""
    found = []
    for words, there, wanted in (
        ("vCPUs", (domain.vcpus, domain.vcpus_max), (spec.vcpus, spec.vcpus)),
        ("MiB of memory", (domain.memory_mib, domain.memory_max_mib), (spec.memory_mib, spec.memory_mib)),
    ):
        if there != wanted:
            found.append(f"{_amount(*there)} {words} instead of {wanted[0]}")
    found += _set("disk", {f"{disk.target} {disk.volume}" for disk in domain.disks}, _disks(spec))
    found += _set("network interface", set(domain.macs), {nic.mac for nic in spec.nics})
    return found


def _amount(now: int, most: int) -> str:
    return str(now) if now == most else f"{now} of {most}"


def _disks(spec: DomainSpec) -> set[str]:
    disks = {f"{disk.target} {disk.volume}" for disk in spec.disks}
    return disks | {f"{cdrom.target} {cdrom.volume}" for cdrom in spec.cdroms}


def _set(what: str, there: set[str], wanted: set[str]) -> list[str]:
    missing = [f"{what} {name} is missing" for name in sorted(wanted - there)]
    return missing + [f"{what} {name} was added" for name in sorted(there - wanted)]
