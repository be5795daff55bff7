"""Machines that are on their way from one host to another, counted for the provider's map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from uuid import UUID

from hosts.map import Moves
from portal.operations.models import Operation
from portal.operations.states import ACTIVE
from vms.workflows.migrate import MIGRATE


def under_way(host_ids: Collection[UUID]) -> Mapping[UUID, Moves]:
    """By host; one query."""
    rows = Operation.objects.unscoped("counted for the provider's staff").filter(kind=MIGRATE.kind, state__in=ACTIVE)
    ways = list(rows.values_list("params__from", "params__to"))
    leaving, arriving = Counter(source for source, _ in ways), Counter(target for _, target in ways)
    return {id: Moves(leaving[str(id)], arriving[str(id)]) for id in host_ids}
