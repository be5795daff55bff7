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
    return found + _in_words(should - domain.outline, domain.outline - should)


def running_differences(domain: DomainFacts, spec: DomainSpec) -> list[str]:
    """What was changed of the guest that runs and of it alone: the definition does not show it."""
    if domain.running_outline is None:
        return []
    should = outline.of_spec(spec)
    missing = (should & domain.outline) - domain.running_outline
    added = domain.running_outline - should - domain.outline
    return _in_words(missing, added)


def evidence(domain: DomainFacts, spec: DomainSpec) -> dict[str, Any]:
    """Both sides of what differs, and the size to take over where that is all."""
    should, there = outline.of_spec(spec), {"vcpus": domain.vcpus, "memory_mib": domain.memory_mib}
    return {
        "is": {**there, "definition": sorted(domain.outline - should)},
        "should": {"vcpus": spec.vcpus, "memory_mib": spec.memory_mib, "definition": sorted(should - domain.outline)},
        "size": there if is_size_only(domain, spec) else None,
    }


def _in_words(missing: frozenset[str], added: frozenset[str]) -> list[str]:
    return [f"{each} is missing" for each in sorted(missing)] + [f"{each} was added" for each in sorted(added)]


def _amount(now: int, most: int) -> str:
    return str(now) if now == most else f"{now} of {most}"
