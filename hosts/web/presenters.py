"""Hosts as pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hosts.models import Host, HostState
from portal.core.units import mib, size
from portal.web.presenters.meter import Meter, meter

HEALTH_LOOKS = {"ready": "running", "pending": "working", "unreachable": "attention", "unusable": "failed"}
ACCELERATORS = {"kvm": "KVM", "qemu": "Emulation (TCG)"}
_HEALTH_WORDS = {
    "ready": "It answers and runs machines.",
    "pending": "It was not checked yet.",
    "unreachable": "It does not answer. What is shown is what was last known.",
    "unusable": "It answers, but nothing that runs guests worked.",
}


@dataclass(frozen=True)
class HostRow:
    """A host in the list, with what is claimed of its capacity by policy."""

    id: UUID
    name: str
    uri: str
    health: str
    look: str
    health_words: str
    is_cordoned: bool
    state: str
    accelerator: str
    is_emulated: bool
    seen_at: datetime | None
    meters: list[Meter]
    last_error: str


@dataclass(frozen=True)
class VerdictLine:
    """What became of booting a trivial guest with one accelerator."""

    accelerator: str
    usable: bool
    seconds: float
    detail: str


@dataclass(frozen=True)
class PoolLine:
    name: str
    path: str
    is_active: bool
    is_used: bool
    words: str
    percent: int


@dataclass(frozen=True)
class HostPage(HostRow):
    hostname: str
    cpu_model: str
    cpus: int
    memory: str
    libvirt_version: str
    qemu_version: str
    network: str
    network_cidr: str
    firmware: str
    checked_at: datetime | None
    verdicts: list[VerdictLine]
    pools: list[PoolLine]


def row(host: Host, used: Mapping[str, int]) -> HostRow:
    return HostRow(**_row_fields(host, used))


def page(host: Host, used: Mapping[str, int]) -> HostPage:
    return HostPage(
        **_row_fields(host, used),
        hostname=host.hostname,
        cpu_model=host.cpu_model,
        cpus=host.cpus,
        memory=mib(host.memory_mib) if host.memory_mib else "",
        libvirt_version=host.libvirt_version,
        qemu_version=host.qemu_version,
        network=host.network_name,
        network_cidr=host.network_cidr,
        firmware=" and ".join(firmware.upper() for firmware in host.firmwares),
        checked_at=host.checked_at,
        verdicts=[_verdict(each) for each in host.verdicts],
        pools=[_pool(each, host.pool_name) for each in host.pools],
    )


def _row_fields(host: Host, used: Mapping[str, int]) -> dict[str, Any]:
    capacity = host.capacity
    return {
        "id": host.pk,
        "name": host.name,
        "uri": host.uri,
        "health": host.health,
        "look": HEALTH_LOOKS[host.health],
        "health_words": _HEALTH_WORDS[host.health],
        "is_cordoned": host.state == HostState.CORDONED,
        "state": host.get_state_display(),
        "accelerator": ACCELERATORS.get(host.accelerator, ""),
        "is_emulated": host.accelerator == "qemu",
        "seen_at": host.seen_at,
        "meters": [meter(name, used.get(name, 0), capacity[name]) for name in ("vcpus", "memory_mib", "disk_gib")],
        "last_error": host.last_error,
    }


def _verdict(verdict: Mapping[str, object]) -> VerdictLine:
    name = str(verdict["accelerator"])
    return VerdictLine(
        accelerator=ACCELERATORS.get(name, name),
        usable=bool(verdict["usable"]),
        seconds=float(str(verdict.get("seconds") or 0)),
        detail=str(verdict.get("detail") or ""),
    )


def _pool(pool: Mapping[str, object], own: str) -> PoolLine:
    capacity, free = int(str(pool["capacity_bytes"])), int(str(pool.get("available_bytes") or 0))
    return PoolLine(
        name=str(pool["name"]),
        path=str(pool.get("path", "")),
        is_active=bool(pool.get("active", True)),
        is_used=pool["name"] == own,
        words=f"{size(capacity - free)} of {size(capacity)}",
        percent=round(100 * (capacity - free) / capacity) if capacity else 0,
    )
