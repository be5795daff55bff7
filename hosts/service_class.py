"""Service classes: what is promised of a host's CPUs and memory, and whether a host can keep that. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hosts.models import Host


class ServiceClass(StrEnum):
    """DEDICATED: CPUs of its own, and its memory. GUARANTEED: a floor of CPU, and its memory. BURSTABLE: a floor and a
    ceiling of CPU. BEST_EFFORT: what others leave."""

    DEDICATED = "dedicated"
    GUARANTEED = "guaranteed"
    BURSTABLE = "burstable"
    BEST_EFFORT = "best-effort"


WHOLE = 100  # percent of one CPU
# Those whose ratio is policy: a dedicated vCPU has a CPU of its own.
SHARING = (ServiceClass.GUARANTEED, ServiceClass.BURSTABLE, ServiceClass.BEST_EFFORT)
# Percent of a CPU; a burstable machine's follows from the over-commit ratio where its size says none.
FLOORS = {ServiceClass.DEDICATED: WHOLE, ServiceClass.GUARANTEED: 50, ServiceClass.BEST_EFFORT: 0}
# At this floor a vCPU weighs as much as a domain does to which no weight was given, e.g. one from before the classes.
UNIT_FLOOR = 10
# By the weight of such a domain, which tells the version of control groups.
_MOST_SHARES = {100: 10_000, 1024: 262_144}
_RESERVES_MEMORY = frozenset({ServiceClass.DEDICATED, ServiceClass.GUARANTEED})


@dataclass(frozen=True, slots=True)
class Promise:
    """What a machine of a size is to get: percent of one CPU for each vCPU.

    `cpu_floor` None is the class's own, `cpu_ceiling` None all of the CPU. `is_made`: to a machine that is there, whose
    floor stays as it was promised whatever the policy is by now.
    """

    service_class: ServiceClass
    vcpus: int
    memory_mib: int
    cpu_floor: int | None = None
    cpu_ceiling: int | None = None
    has_huge_pages: bool = False
    is_made: bool = False

    @property
    def is_dedicated(self) -> bool:
        return self.service_class is ServiceClass.DEDICATED

    @property
    def reserves_memory(self) -> bool:
        """Whether its memory is never given out twice, whatever the over-commit ratio."""
        return self.service_class in _RESERVES_MEMORY

    @property
    def needs_weights(self) -> bool:
        """Whether it is worth nothing on a host that cannot weigh guests against each other."""
        return self.reserves_memory or self.cpu_floor is not None


def floor_by_ratio(cpu_ratio: float) -> int:
    """What is left for each vCPU when a host has given out all that its ratio allows."""
    return min(WHOLE, max(1, int(WHOLE / cpu_ratio)))


def floor_on(promise: Promise, host: Host) -> int | None:
    """Percent of a CPU for each vCPU on that host; None where nothing can be promised there."""
    if not host.controls_known.cpu_weight:
        return None
    if promise.cpu_floor is not None:
        return promise.cpu_floor if promise.is_made else max(promise.cpu_floor, _floor_by_policy(promise, host))
    usual = FLOORS.get(promise.service_class, floor_by_ratio(float(host.cpu_ratio)))
    return _floor_by_policy(promise, host) or usual


def _floor_by_policy(promise: Promise, host: Host) -> int:
    """Of the cluster for that class; 0 where it has none. A CPU that carries four vCPUs has a quarter for each: the
    ledger, which never promises more than the CPUs, holds the ratio."""
    ratio = host.cluster.class_ratios.get(promise.service_class)
    return floor_by_ratio(ratio) if ratio else 0


def shares_on(promise: Promise, host: Host) -> int | None:
    """Its weight in the host's own scale."""
    floor, unit = floor_on(promise, host), host.controls_known.cpu_weight
    if floor is None:
        return None
    wanted = unit * promise.vcpus * floor // UNIT_FLOOR
    return max(2, wanted, unit * promise.vcpus // 50)


def amounts(promise: Promise, floor: int | None, pins: Sequence[int] = ()) -> dict[str, int]:
    """What it claims of a host beside its size. CPUs of its own are claimed each by its number."""
    if floor is None:
        return {}
    wanted = {f"cpu:{number}": 1 for number in pins}
    if not promise.is_dedicated:
        wanted["cpu_floor"] = floor * promise.vcpus
    if promise.reserves_memory:
        wanted["reserved_mib"] = promise.memory_mib
    if promise.has_huge_pages:
        wanted["huge_pages_mib"] = promise.memory_mib
    return {resource: amount for resource, amount in wanted.items() if amount}


def limits(host: Host) -> dict[str, int | None]:
    """What can be promised of a host, whatever its over-commit ratios are."""
    return {
        "cpu_floor": WHOLE * (host.cpus - host.dedicated_cpus),
        "reserved_mib": max(host.memory_mib - host.memory_reserved_mib, 0),
        "huge_pages_mib": host.huge_pages_mib,
        **{f"cpu:{number}": 1 for number in host.cpus_of_their_own},
    }


def why_not(promise: Promise, host: Host) -> str:
    """Why the host cannot keep that, however empty it is, for people; "" where it can."""
    controls = host.controls_known
    has_policy = bool(_floor_by_policy(promise, host)) and not promise.is_made
    if (promise.needs_weights or has_policy) and not controls.cpu_weight:
        return "the host cannot weigh guests against each other (it has no CPU control group)"
    if promise.cpu_ceiling is not None and not controls.has_cpu_quota:
        return "the host cannot hold a guest to a ceiling of CPU"
    if promise.is_dedicated and host.dedicated_cpus < promise.vcpus:
        kept = f"only {host.dedicated_cpus}" if host.dedicated_cpus else "none"
        cpus = "one CPU" if promise.vcpus == 1 else f"{promise.vcpus} CPUs"
        return f"it needs {cpus} of its own, and the host keeps {kept} for dedicated machines"
    if promise.has_huge_pages and host.huge_pages_mib < promise.memory_mib:
        kept = f"{host.huge_pages_mib} MiB" if host.huge_pages_mib else "none"
        return f"it needs {promise.memory_mib} MiB in huge pages, and the host has set aside {kept}"
    shares, most = shares_on(promise, host), _MOST_SHARES.get(controls.cpu_weight)
    if not promise.is_dedicated and shares is not None and most is not None and shares > most:
        return f"{promise.vcpus} vCPUs with that floor weigh more than the host's control groups can tell apart"
    return ""


def kept_by(host: Host) -> Mapping[ServiceClass, str]:
    """Of each class why the host cannot keep it even for the smallest machine; "" where it can."""
    return {each: why_not(Promise(each, 1, 1), host) for each in ServiceClass}
