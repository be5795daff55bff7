"""What machines claim of hosts, in words."""

from __future__ import annotations

from collections.abc import Mapping

_WORDS = {
    "vcpus": "vCPUs",
    "memory_mib": "MiB of memory",
    "disk_gib": "GiB of disk",
    "cpu_floor": "percent of a CPU to promise",
    "reserved_mib": "MiB of memory to reserve",
    "huge_pages_mib": "MiB of huge pages",
}


def amount(resource: str, number: int) -> str:
    """2 vCPUs."""
    return f"{number} vCPU" if (resource, number) == ("vcpus", 1) else f"{number} {_WORDS[resource]}"


def short(missing: Mapping[str, int]) -> str:
    """What a host would have to have more, for administrators: 2 vCPUs short, 10 GiB of disk short."""
    return ", ".join(f"{amount(resource, number)} short" for resource, number in missing.items())
