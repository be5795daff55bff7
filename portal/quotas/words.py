"""What is said where a quota is full: on the page before, and in the refusal after."""

from __future__ import annotations

from portal.core.units import THIN_SPACE, mib

_NAMES = {
    "vms": "VM",
    "vcpus": "vCPU",
    "memory_mib": "Memory",
    "disk_gib": "Disk",
    "snapshots": "Snapshot",
    "image_mib": "Image",
    "backup_mib": "Backup",
}
COUNTED = frozenset({"vms", "snapshots"})  # things by their number, so how large one is does not matter
_ADVICE = {
    "vms": "Delete a machine, or ask for more.",
    "snapshots": "Delete a snapshot, or ask for more.",
    "image_mib": "Delete an image, or ask for more.",
    "backup_mib": "Delete a backup, or ask for more.",
}
_SMALLER = "Choose a smaller size, delete a machine, or ask for more."


def name(resource: str) -> str:
    return _NAMES[resource]


def amount(resource: str, value: int) -> str:
    """A number with the unit people think in: `3`, `256 MiB`, `1.5 GiB`, `20 GiB`."""
    if resource.endswith("_mib"):
        return mib(value)
    return f"{value}{THIN_SPACE}GiB" if resource == "disk_gib" else str(value)


def reached(resource: str, *, limit: int, used: int, requested: int) -> str:
    """`Memory quota reached: 3.5 GiB of 4 GiB used, this needs 1 GiB more.`"""
    words = f"{_NAMES[resource]} quota reached: {amount(resource, used)} of {amount(resource, limit)} used"
    return f"{words}." if resource in COUNTED else f"{words}, this needs {amount(resource, requested)} more."


def advice(resource: str) -> str:
    """What helps: a smaller size does not where things are counted."""
    return _ADVICE.get(resource, _SMALLER)
