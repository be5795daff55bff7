"""What the map shows of hosts: what machines hold of them, what was measured, and what is under way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
MIGRATION = "vm.migrate"


@dataclass(frozen=True, slots=True)
class Measured:
    """`cpu` is how many CPUs were busy."""

    cpu: float
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Standing:
    """`claimed` is by resource of the ledger. `measured` None: nothing was, lately. `working` are all operations under
    way on the host, `migrating` those of them that move a machine."""

    claimed: Mapping[str, int] = field(default_factory=dict)
    machines: int = 0
    measured: Measured | None = None
    working: int = 0
    migrating: int = 0


def standings(hosts: Iterable[Host]) -> Mapping[UUID, Standing]:
    """Of each; four queries for any number."""
    ids = [host.pk for host in hosts]
    claimed, machines = ledger.used_by_account(ids), ledger.holders_by_account(ids, "vcpus")
    measured, working = _measured(ids), _working(ids)
    return {
        id: Standing(
            claimed=claimed.get(id, {}),
            machines=machines.get(id, 0),
            measured=measured.get(id),
            working=sum(working.get(str(id), {}).values()),
            migrating=working.get(str(id), {}).get(MIGRATION, 0),
        )
        for id in ids
    }


def _measured(ids: list[UUID]) -> dict[UUID, Measured]:
    rows = HostUsage.objects.filter(host__in=ids, step=MINUTE, at__gte=timezone.now() - LATELY).order_by("at")
    return {row.host_id: Measured(row.cpu_ms / max(row.length_ms, 1), row.memory_mib) for row in rows}


def _working(ids: list[UUID]) -> dict[str, dict[str, int]]:
    """By lane and kind."""
    rows = Operation.objects.unscoped("counted for the provider's staff").filter(
        state__in=ACTIVE, lane__in=map(str, ids)
    )
    found: dict[str, dict[str, int]] = {}
    for lane, kind, count in rows.order_by().values_list("lane", "kind").annotate(Count("pk")):
        found.setdefault(lane, {})[kind] = count
    return found
