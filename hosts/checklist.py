"""What a host must have, as its last preflight found it: one line each, for the page and the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import reduce

from django.utils import timezone

from hosts import reach
from hosts.models import Host, StoragePool

LEAST_LIBVIRT, LEAST_QEMU = (9, 0, 0), (7, 2, 0)
SKEW_WARN, SKEW_FAIL = 1.0, 30.0  # seconds
EXPIRES_SOON = timedelta(days=30)
POOL_NEARLY_FULL = 0.1  # of it is left
MOST_NAMED = 5


class Verdict(StrEnum):
    """UNCHECKED: it matters, and nothing here can find it out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNCHECKED = "unchecked"


@dataclass(frozen=True)
class Check:
    """`detail` says what was found, `advice` what to do; "" where nothing is to be done."""

    name: str
    verdict: Verdict
    detail: str
    advice: str = ""

    @property
    def is_ok(self) -> bool:
        """It does not stand in the way."""
        return self.verdict is not Verdict.FAIL


def checks(host: Host) -> list[Check]:
    """Nothing before the first preflight. Reads the host's pools, its cluster, and the hosts of that with theirs."""
    if host.checked_at is None:
        return []
    return [check for each in _CHECKS for check in each(host)]


def _versions(host: Host) -> Iterator[Check]:
    for name, found, least in (
        ("libvirt", host.libvirt_version, LEAST_LIBVIRT),
        ("QEMU", host.qemu_version, LEAST_QEMU),
    ):
        numbers, wanted = tuple(int(part) for part in found.split(".") if part.isdigit()), ".".join(map(str, least))
        if numbers >= least:
            yield Check(f"{name} version", Verdict.OK, found)
        else:
            advice = f"Upgrade the host to {name} {wanted} or newer."
            yield Check(f"{name} version", Verdict.FAIL, found or "Unknown", advice)


def _accelerator(host: Host) -> Iterator[Check]:
    if host.accelerator == "kvm":
        yield Check("Accelerator", Verdict.OK, "KVM boots guests")
    elif host.accelerator:
        advice = "Enable virtualisation in the firmware, and load kvm_intel or kvm_amd."
        yield Check("Accelerator", Verdict.WARN, "Emulation only: correct, and ten times slower or more", advice)
    else:
        advice = "See below what each accelerator did, and try virt-host-validate on the host."
        yield Check("Accelerator", Verdict.FAIL, "None booted the trivial guest", advice)


def _clock(host: Host) -> Iterator[Check]:
    """By the time at which the host says that it wrote the trivial guest's disk."""
    found = [verdict["clock_offset"] for verdict in host.verdicts if verdict.get("clock_offset") is not None]
    if not found:
        return
    skew = min(found, key=abs)
    if abs(skew) <= SKEW_WARN:
        yield Check("Clock", Verdict.OK, "As the portal's")
        return
    words = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the portal's"
    advice = "Let chrony or systemd-timesyncd set the clocks of the host and of the portal's machine."
    yield Check("Clock", Verdict.WARN if abs(skew) <= SKEW_FAIL else Verdict.FAIL, words, advice)


def _processor(host: Host) -> Iterator[Check]:
    """As long as the cluster has no baseline, machines move only between hosts with the same processor."""
    wanted, offered = host.cluster.cpu_model, set(host.cpu_models)
    if wanted and offered and wanted not in offered:
        words = f"It cannot show guests {wanted}, the baseline of its cluster"
        advice = f"Put it into another cluster, or change the baseline{_common(host)}."
        yield Check("Processor", Verdict.FAIL, words, advice)
        return
    if wanted:
        yield Check("Processor", Verdict.OK, f"Guests see {wanted}, the baseline of its cluster")
        return
    own = host.cpu_model or "Unknown"
    others = {other.cpu_model for other in host.cluster.hosts.all() if other.cpu_model and other.pk != host.pk}
    if host.accelerator != "kvm" or others <= {host.cpu_model}:
        yield Check("Processor", Verdict.OK, f"{own}, as the others of its cluster")
        return
    advice = f"Give the cluster a processor that all its hosts can show{_common(host)}."
    yield Check("Processor", Verdict.FAIL, f"{own}, unlike others of its cluster", advice)


def _common(host: Host) -> str:
    """The newest models that all hosts of its cluster can show, as libvirt orders them: oldest last."""
    offered = [each.cpu_models for each in host.cluster.hosts.all() if each.cpu_models]
    common = reduce(lambda left, right: [model for model in left if model in right], offered) if offered else []
    return f": {', '.join(common[:MOST_NAMED])}" if common else ""


def _network(host: Host) -> Iterator[Check]:
    wanted = host.cluster.network_cidr
    if host.network_cidr and host.network_cidr == wanted:
        yield Check("Network", Verdict.OK, f"{wanted}, as all of its cluster")
        return
    words = f"{host.network_cidr or 'None'}; that of its cluster is {wanted or 'not chosen'}"
    yield Check("Network", Verdict.FAIL, words, "Empty the host and check it again, or put it into another cluster.")


def _migration(host: Host) -> Iterator[Check]:
    """libvirt connects hosts to each other for a migration alone, so only one can tell."""
    if len(host.cluster.hosts.all()) < 2:
        return
    if not host.arrival:
        words = "Not tried yet: only a migration connects hosts with each other"
        yield Check(_PORTS, Verdict.UNCHECKED, words, _OPEN_PORTS)
        return
    when = datetime.fromisoformat(host.arrival["at"])
    words = f"from {host.arrival['source']} on {when:%-d %B %Y}"
    if host.arrival["has_arrived"]:
        yield Check(_PORTS, Verdict.OK, f"A machine came {words}")
    else:
        yield Check(_PORTS, Verdict.WARN, f"The last migration, {words}, failed", _OPEN_PORTS)


_PORTS = "Migration ports"
_OPEN_PORTS = "Let the hosts of the cluster reach each other at TCP ports 49152 to 49215."


def _storage(host: Host) -> Iterator[Check]:
    """Which other hosts of its cluster see the same, by the token in it: machines move to these without their disks."""
    others = [other for other in host.cluster.hosts.all() if other.pk != host.pk]
    for pool in host.storage_pools.all():
        if others and pool.takes_disks and pool.is_ready:
            yield _shared(pool, others)


def _shared(pool: StoragePool, others: list[Host]) -> Check:
    name = f"Storage {pool.name}"
    if not pool.storage_id:
        advice = "Let the host write files into the pool, and check it again."
        return Check(name, Verdict.WARN, "Not recognised: no token could be written to it, or read", advice)
    same = [
        other.name
        for other in others
        if any(not its.error and reach.is_same(pool, its) for its in other.storage_pools.all())
    ]
    more = f" and {len(same) - MOST_NAMED} others" if len(same) > MOST_NAMED else ""
    words = f"The same as on {', '.join(same[:MOST_NAMED])}{more}" if same else "Of this host alone"
    return Check(name, Verdict.OK, words)


def _pools(host: Host) -> Iterator[Check]:
    for pool in host.storage_pools.all():
        yield _pool(pool)


def _pool(pool: StoragePool) -> Check:
    name = f"Pool {pool.name}"
    if not pool.is_ready:
        advice = "Look whether its directory, mount or server is there, and check the host again."
        return Check(name, Verdict.FAIL, pool.error or "Not seen yet", advice)
    left = pool.available_bytes / pool.capacity_bytes if pool.capacity_bytes else 1.0
    if left < POOL_NEARLY_FULL:
        advice = "Enlarge it, move disks to another pool, or cordon the host: a full pool pauses guests."
        return Check(name, Verdict.WARN, f"Reached, and {left:.0%} of it is left", advice)
    return Check(name, Verdict.OK, f"Reached, and {left:.0%} of it is left")


def _access(host: Host) -> Iterator[Check]:
    """A certificate that is over lets nobody in; an SSH key ends with its line on the host."""
    ends = host.access.expires_at if host.access else None
    if ends is None:
        return
    words, left = f"Until {ends:%-d %B %Y}", ends - timezone.now()
    if left > EXPIRES_SOON:
        yield Check("Client certificate", Verdict.OK, words)
    else:
        verdict = Verdict.WARN if left > timedelta() else Verdict.FAIL
        yield Check("Client certificate", verdict, words, "Have it issued anew, and replace it here.")


_CHECKS: tuple[Callable[[Host], Iterator[Check]], ...] = (
    *(_versions, _accelerator, _clock, _processor, _network, _migration, _pools, _storage, _access),
)
