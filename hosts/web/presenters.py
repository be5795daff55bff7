"""Hosts as pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse

from hosts.checklist import Check, Verdict, checks
from hosts.models import FenceAgent, Host, HostAccess, HostState
from hosts.service_class import kept_by
from portal.core.units import mib, size
from portal.web.presenters.meter import Meter, meter

HEALTH_LOOKS = {"ready": "running", "pending": "working", "unreachable": "attention", "unusable": "failed"}
_RESOURCES = ("vcpus", "memory_mib", "disk_gib")
STATE_LOOKS: Mapping[str, str] = {
    HostState.ENABLED: "running",
    HostState.CORDONED: "paused",
    HostState.DRAINING: "working",
    HostState.MAINTENANCE: "stopped",
    HostState.FAILED: "failed",
}
_VERDICTS = {
    Verdict.OK: ("fine", "running"),
    Verdict.WARN: ("could be better", "attention"),
    Verdict.FAIL: ("not as needed", "failed"),
    Verdict.UNCHECKED: ("not checked", "stopped"),
}
ACCELERATORS = {"kvm": "KVM", "qemu": "Emulation (TCG)"}
_HEALTH_WORDS = {
    "ready": "It answers and runs machines.",
    "pending": "It was not checked yet.",
    "unreachable": "It does not answer. What is shown is what was last known.",
    "unusable": "It answers, but nothing that runs guests worked.",
}
_OFF_ON_PURPOSE = "It is in maintenance and does not answer, as one that is switched off. Uncordon it when it is back."


@dataclass(frozen=True)
class HostRow:
    """A host in the list, with what is claimed of its capacity by policy."""

    id: UUID
    name: str
    uri: str
    health: str
    look: str
    health_words: str
    is_enabled: bool
    state: str
    state_look: str
    state_words: str
    cluster: str
    labels: list[str]
    accelerator: str
    is_emulated: bool
    seen_at: datetime | None
    meters: list[Meter]
    last_error: str
    suspicion: str
    is_suspected: bool
    has_failed: bool
    failed_at: datetime | None


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
class ClassLine:
    """A service class, and why the host cannot keep it; "" where it can."""

    name: str
    why_not: str


@dataclass(frozen=True)
class AgentLine:
    """A host's fence agent, and what its last test said."""

    name: str
    word: str
    look: str
    problem: str
    tested_at: datetime | None


@dataclass(frozen=True)
class CheckLine:
    """A line of the checklist, with a word and a look for its verdict."""

    name: str
    word: str
    look: str
    detail: str
    advice: str


@dataclass(frozen=True)
class AccessLine:
    """`fingerprint` of what the host is shown, `host_fingerprints` of what it is known by."""

    kind: str
    fingerprint: str
    host_fingerprints: list[str]
    expires_at: datetime | None


@dataclass(frozen=True)
class HostPage(HostRow):
    access: AccessLine | None
    is_remote: bool
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
    classes: list[ClassLine]
    pools: list[PoolLine]
    checks: list[CheckLine]
    fence_agent: AgentLine | None
    fence_url: str
    failover_url: str


def row(host: Host, used: Mapping[str, int]) -> HostRow:
    return HostRow(**_row_fields(host, used))


def page(host: Host, used: Mapping[str, int]) -> HostPage:
    return HostPage(
        **_row_fields(host, used),
        access=_access(host.access) if host.access else None,
        is_remote=host.uri.startswith(("qemu+ssh:", "qemu+tls:")),
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
        classes=[ClassLine(str(each), reason) for each, reason in kept_by(host).items()],
        pools=[_pool(each, host.pool_name) for each in host.pools],
        checks=[_check(each) for each in checks(host)],
        fence_agent=_agent(getattr(host, "fence_agent", None)),
        fence_url=reverse("host-fence-agent", args=[host.name]),
        failover_url=reverse("host-failover", args=[host.name]),
    )


def _agent(agent: FenceAgent | None) -> AgentLine | None:
    if agent is None:
        return None
    word = f"says {agent.power}" if agent.power else "not tested yet"
    look = "running" if agent.power and not agent.problem else "working"
    if agent.problem:
        word, look = "does not work", "failed"
    return AgentLine(agent.agent, word, look, agent.problem, agent.tested_at)


def _check(check: Check) -> CheckLine:
    word, look = _VERDICTS[check.verdict]
    return CheckLine(check.name, word, look, check.detail, check.advice)


def _access(access: HostAccess) -> AccessLine:
    return AccessLine(access.get_kind_display(), access.fingerprint, access.host_fingerprints, access.expires_at)


def _row_fields(host: Host, used: Mapping[str, int]) -> dict[str, Any]:
    capacity = host.capacity
    return {
        "id": host.pk,
        "name": host.name,
        "uri": host.uri,
        "health": host.health,
        "look": "stopped" if host.is_off_on_purpose else HEALTH_LOOKS[host.health],
        "health_words": _OFF_ON_PURPOSE if host.is_off_on_purpose else _HEALTH_WORDS[host.health],
        "is_enabled": host.state == HostState.ENABLED,
        "state": host.state,
        "state_look": STATE_LOOKS[host.state],
        "state_words": host.get_state_display(),
        "cluster": host.cluster.name,
        "labels": host.labels,
        "accelerator": ACCELERATORS.get(host.accelerator, ""),
        "is_emulated": host.accelerator == "qemu",
        "seen_at": host.seen_at,
        "meters": [meter(name, used.get(name, 0), capacity[name]) for name in _RESOURCES],
        "last_error": "" if host.is_off_on_purpose else host.last_error,
        "suspicion": host.suspicion,
        "is_suspected": host.suspected_at is not None,
        "has_failed": host.has_failed,
        "failed_at": host.failed_at,
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
