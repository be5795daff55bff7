"""From counters to what was used between two readings of them. Pure, but for the clock and the host that it asks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

from hosts.driver.base import Driver
from hosts.driver.types import DomainStats, HostStats

NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Used:
    """In one interval; `memory_mib` is what it was at its end."""

    cpu_ms: int = 0
    wait_ms: int = 0
    memory_mib: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    requests: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """What a host and its guests used in the minute from `at` on, of which `length_ms` were measured."""

    at: datetime
    length_ms: int
    host: Used
    domains: Mapping[UUID, Used]


class Meter:
    """Reads a host's counters once in a minute, by the clock that people see."""

    def __init__(self) -> None:
        self._minute: datetime | None = None
        self._before = HostStats(0, 0)
        self._read_at = 0.0

    def take(self, driver: Driver, now: datetime) -> Sample | None:
        """What was used since the last reading; None where that was in this minute, or there was none."""
        minute = now.replace(second=0, microsecond=0)
        if minute == self._minute:
            return None
        stats, read_at = driver.stats(), time.monotonic()
        begun, before, length_ms = self._minute, self._before, round(1000 * (read_at - self._read_at))
        self._minute, self._before, self._read_at = minute, stats, read_at
        return None if begun is None else between(before, stats, begun, length_ms)


def between(before: HostStats, after: HostStats, at: datetime, length_ms: int) -> Sample:
    """A guest that was not there before, or counts from the beginning again, was started in between."""
    known = {domain.uuid: domain for domain in before.domains}
    used = {domain.uuid: _used(known.get(domain.uuid), domain) for domain in after.domains}
    own = Used(cpu_ms=_more(before.cpu_ns, after.cpu_ns) // NS_PER_MS, memory_mib=after.memory_mib)
    return Sample(at, length_ms, _with_guests(own, list(used.values())), used)


def _used(before: DomainStats | None, after: DomainStats) -> Used:
    if before is None or after.cpu_ns < before.cpu_ns:
        before = DomainStats(after.uuid, after.vcpus, *[0] * (len(fields(DomainStats)) - 2))
    return Used(
        cpu_ms=_more(before.cpu_ns, after.cpu_ns) // NS_PER_MS,
        wait_ms=_more(before.wait_ns, after.wait_ns) // NS_PER_MS,
        memory_mib=after.memory_mib,
        read_bytes=_more(before.read_bytes, after.read_bytes),
        written_bytes=_more(before.written_bytes, after.written_bytes),
        requests=_more(before.read_requests + before.write_requests, after.read_requests + after.write_requests),
        received_bytes=_more(before.received_bytes, after.received_bytes),
        sent_bytes=_more(before.sent_bytes, after.sent_bytes),
    )


def _more(before: int, after: int) -> int:
    """A device that was taken out takes its counts with it."""
    return max(after - before, 0)


def _with_guests(own: Used, guests: list[Used]) -> Used:
    names = ("wait_ms", "read_bytes", "written_bytes", "requests", "received_bytes", "sent_bytes")
    sums = {name: sum(getattr(guest, name) for guest in guests) for name in names}
    return Used(cpu_ms=own.cpu_ms, memory_mib=own.memory_mib, **sums)
