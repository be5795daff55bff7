"""What of a real definition is not as it should be. Pure."""

from __future__ import annotations

from typing import Any

from hosts.driver.types import DomainFacts, DomainSpec
from hosts.driver.xml import outline


def is_size_only(domain: DomainFacts, spec: DomainSpec) -> bool:
    """Whether vCPUs and memory are all that differs."""
    return domain.outline == outline.of_spec(spec)


def differences(domain: DomainFacts, spec: DomainSpec) -> list[str]:
    """In words, one a difference: vCPUs, memory, name, disks, network, display and all other devices that matter."""
    found = []
    for words, there, wanted in (
        ("vCPUs", (domain.vcpus, domain.vcpus_max), (spec.vcpus, spec.vcpus)),
        ("MiB of memory", (domain.memory_mib, domain.memory_max_mib), (spec.memory_mib, spec.memory_mib)),
    ):
        if there != wanted:
            found.append(f"{_amount(*there)} {words} instead of {wanted[0]}")
    should = outline.of_spec(spec)
    found += [f"{words} is missing" for words in sorted(should - domain.outline)]
    return found + [f"{words} was added" for words in sorted(domain.outline - should)]


def evidence(domain: DomainFacts, spec: DomainSpec) -> dict[str, Any]:
    """Both sides of what differs, and the size to take over where that is all."""
    should, there = outline.of_spec(spec), {"vcpus": domain.vcpus, "memory_mib": domain.memory_mib}
    return {
        "is": {**there, "definition": sorted(domain.outline - should)},
        "should": {"vcpus": spec.vcpus, "memory_mib": spec.memory_mib, "definition": sorted(should - domain.outline)},
        "size": there if is_size_only(domain, spec) else None,
    }


def _amount(now: int, most: int) -> str:
    return str(now) if now == most else f"{now} of {most}"
