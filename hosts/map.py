"""What the map shows of hosts: what machines hold of them, what was measured, and what is under way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from django.db.models import Count
from django.utils import timezone

from hosts.models import Host, HostUsage
from hosts.models.usage import MINUTE
from portal.operations.models import Operation
from portal.operations.states import ACTIVE
from portal.quotas import ledger

LATELY = timedelta(minutes=3)  # two whole minutes, and the one that is not over


@dataclass(frozen=True, slots=True)
class Measured:
    """`cpu` is how many CPUs were busy."""

    cpu: float
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Moves:
    """How many machines are on their way from a host, and to it. Those that leave are operations of the host's own."""

    leaving: int = 0
    arriving: int = 0


# Apps that move machines count by host what is under way, in one query.
movers: list[Callable[[Collection[UUID]], Mapping[UUID, Moves]]] = []


@dataclass(frozen=True, slots=True)
class Standing:
    """`claimed` is by resource of the ledger, also for machines that are on their way here, which `machines` are not:
    these count where they come from. `measured` None: nothing was, lately. `working` are operations under way
    on the host, without those that move a machine away."""

    claimed: Mapping[str, int] = field(default_factory=dict)
    machines: int = 0
    measured: Measured | None = None
    working: int = 0
    moves: Moves = Moves()


def standings(hosts: Iterable[Host]) -> Mapping[UUID, Standing]:
    """Of each, in as many queries for any number."""
    ids = [host.pk for host in hosts]
    claimed, machines = ledger.used_by_account(ids), ledger.holders_by_account(ids, "vcpus")
    measured, working, moves = _measured(ids), _working(ids), _moves(ids)
    return {
        id: Standing(
            claimed=claimed.get(id, {}),
            machines=max(machines.get(id, 0) - moves.get(id, Moves()).arriving, 0),
            measured=measured.get(id),
            working=working.get(str(id), 0) - moves.get(id, Moves()).leaving,
            moves=moves.get(id, Moves()),
        )
        for id in ids
    }


def _measured(ids: list[UUID]) -> dict[UUID, Measured]:
    rows = HostUsage.objects.filter(host__in=ids, step=MINUTE, at__gte=timezone.now() - LATELY).order_by("at")
    return {row.host_id: Measured(row.cpu_ms / max(row.length_ms, 1), row.memory_mib) for row in rows}


def _working(ids: list[UUID]) -> dict[str, int]:
    """By lane."""
    rows = Operation.objects.unscoped("counted for the provider's staff").filter(
        state__in=ACTIVE, lane__in=map(str, ids)
    )
    return dict(rows.order_by().values_list("lane").annotate(Count("pk")))


def _moves(ids: list[UUID]) -> Mapping[UUID, Moves]:
    found: dict[UUID, Moves] = {}
    for count in movers:
        for id, moves in count(ids).items():
            known = found.get(id, Moves())
            found[id] = Moves(known.leaving + moves.leaving, known.arriving + moves.arriving)
    return found
