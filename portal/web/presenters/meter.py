"""Quota and capacity as meters: a word, two numbers and a share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from portal.quotas import words
from portal.quotas.models import RESOURCES
from portal.quotas.selectors import Usage
from portal.quotas.words import amount

NAMES = {
    "vms": "VMs",
    "vcpus": "vCPU",
    "memory_mib": "Memory",
    "disk_gib": "Disk",
    "snapshots": "Snapshots",
    "image_mib": "Images",
    "backup_mib": "Backups",
}
UNITS = {"memory_mib": " (MiB)", "disk_gib": " (GiB)", "image_mib": " (MiB)", "backup_mib": " (MiB)"}


@dataclass(frozen=True)
class Meter:
    """How much of a limit is used, as words with units. `percent` is None where there is no limit."""

    resource: str
    name: str
    used: str
    limit: str
    percent: int | None
    is_full: bool

    @property
    def words(self) -> str:
        return f"{self.used} of {self.limit}" if self.limit else f"{self.used}, no limit"


def meter(resource: str, used: int, limit: int | None) -> Meter:
    percent = None if limit is None else min(100, round(100 * used / limit)) if limit else min(used, 1) * 100
    return Meter(
        resource=resource,
        name=NAMES[resource],
        used=amount(resource, used),
        limit="" if limit is None else amount(resource, limit),
        percent=percent,
        is_full=limit is not None and used > 0 and used >= limit,
    )


def meters(usage: Usage) -> list[Meter]:
    return [meter(resource, usage.used[resource], usage.limits[resource]) for resource in RESOURCES]


def shortfall(usage: Usage, wanted: Mapping[str, int]) -> str:
    """Which limit does not leave room for `wanted`, in words; "" where all do."""
    for resource, more in wanted.items():
        limit, used = usage.limits[resource], usage.used[resource]
        if limit is not None and used + more > limit:
            return words.reached(resource, limit=limit, used=used, requested=more)
    return ""
