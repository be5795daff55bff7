"""What one URI means in a process, and how a call reaches it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from hosts.driver import errors
from hosts.driver.types import (
    Arrival,
    BackupSpec,
    Consistency,
    DiskSpec,
    DomainEvent,
    DomainSpec,
    DomainStats,
    Journey,
    PowerState,
    Reason,
    VolumeFacts,
)


@dataclass
class MemoryHost:
    """What one URI means in this process. `latency_seconds` is spent in each call; tests may change all of it.

    `counters` are what its guests count, as far as they do; `cpu_ns` and `memory_mib` are the host's own.
    `running` has the disks of each guest that is on, by target; those of `deaf` guests do not let go of any.
    Migrations of `past_return` cannot be ended, and have left guests of `left_paused` so in their last moment; guests
    that are `transient` are not here for good, and those `in_parts` lack memory that is still elsewhere.
    """

    latency_seconds: float = 0.0
    domains: dict[UUID, tuple[DomainSpec, PowerState]] = field(default_factory=dict)
    pools: dict[str, Path] = field(default_factory=dict)
    volumes: dict[tuple[str, str], VolumeFacts] = field(default_factory=dict)
    cpu_ns: int = 0
    memory_mib: int = 0
    counters: dict[UUID, DomainStats] = field(default_factory=dict)
    running: dict[UUID, dict[str, DiskSpec]] = field(default_factory=dict)
    deaf: set[UUID] = field(default_factory=set)
    reasons: dict[UUID, Reason] = field(default_factory=dict)
    contents: dict[tuple[str, str], Path | bytes] = field(default_factory=dict)
    unfinished: set[tuple[str, str]] = field(default_factory=set)
    copies: dict[UUID, tuple[str, str]] = field(default_factory=dict)
    agents: set[UUID] = field(default_factory=set)
    frozen: set[UUID] = field(default_factory=set)
    backups: dict[UUID, BackupSpec] = field(default_factory=dict)
    checkpoints: dict[UUID, dict[str, Consistency]] = field(default_factory=dict)
    absorbed: set[UUID] = field(default_factory=set)
    merges: dict[UUID, str] = field(default_factory=dict)
    migrations: dict[UUID, Journey] = field(default_factory=dict)
    arrivals: dict[UUID, Arrival] = field(default_factory=dict)
    past_return: set[UUID] = field(default_factory=set)
    left_paused: set[UUID] = field(default_factory=set)
    transient: set[UUID] = field(default_factory=set)
    in_parts: set[UUID] = field(default_factory=set)
    memories: dict[tuple[str, str], DomainSpec] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)
    dhcp_hosts: dict[str, dict[str, str]] = field(default_factory=dict)
    watchers: list[tuple[Callable[[DomainEvent], None], Callable[[], None]]] = field(default_factory=list)
    faults: dict[str, deque[errors.DriverError]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def fail_next(self, method: str, error: errors.DriverError) -> None:
        """The next call of `method` raises `error` before it does anything; several are raised in turn."""
        self.faults.setdefault(method, deque()).append(error)

    def lose_power(self) -> None:
        """All guests die at once, and nobody is told."""
        self.domains = {uuid: (spec, PowerState.STOPPED) for uuid, (spec, _) in self.domains.items()}
        self.running.clear()
        self.reasons.clear()
        self.copies.clear()
        self.backups.clear()
        self.absorbed.clear()
        self.merges.clear()
        self.migrations.clear()

    def lose_connection(self) -> None:
        """Tell all who watch that the connection broke."""
        watchers, self.watchers = self.watchers, []
        for _, on_lost in watchers:
            on_lost()


_hosts: dict[str, MemoryHost] = {}


def host(uri: str) -> MemoryHost:
    """The host that drivers for `uri` talk to."""
    return _hosts.setdefault(uri, MemoryHost())


def reset() -> None:
    """Forget all hosts; drivers that are still held keep theirs."""
    _hosts.clear()


class Calls:
    """What the groups of calls stand on."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.host = host(uri)

    def fail_next(self, method: str, error: errors.DriverError) -> None:
        self.host.fail_next(method, error)

    def close(self) -> None:
        """Nothing is open."""

    @contextmanager
    def _call(self, method: str) -> Iterator[MemoryHost]:
        """One call, alone on the host as in libvirt's driver."""
        self.host.calls.append(method)
        if self.host.latency_seconds:
            time.sleep(self.host.latency_seconds)
        with self.host.lock:
            if faults := self.host.faults.get(method):
                raise faults.popleft()
            yield self.host
