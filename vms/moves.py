"""Machines that are on their way from one host to another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from uuid import UUID

from django.db.models import QuerySet

from hosts.map import Moves
from hosts.models import Host
from portal.operations.models import Operation
from portal.operations.states import ACTIVE
from vms.models import VM

KIND = "vm.migrate"


def under_way(host_ids: Collection[UUID]) -> Mapping[UUID, Moves]:
    """By host, for the provider's map; one query."""
    ways = list(_active().values_list("params__from", "params__to"))
    leaving, arriving = Counter(source for source, _ in ways), Counter(target for _, target in ways)
    return {id: Moves(leaving[str(id)], arriving[str(id)]) for id in host_ids}


def destinations(vms: QuerySet[VM]) -> Mapping[UUID, Host]:
    """By the id of each of these that is on its way, the host that it goes to. Two queries.

    Read before the machines' own rows: whichever has ended between both, its row says where it is.
    """
    ways = list(_active().filter(target_id__in=vms.values("pk")).values_list("target_id", "params__to"))
    hosts = Host.objects.in_bulk([UUID(host_id) for _, host_id in ways])
    return {vm_id: hosts[UUID(host_id)] for vm_id, host_id in ways}


def _active() -> QuerySet[Operation]:
    return Operation.objects.unscoped("machines in hand, or counted").filter(kind=KIND, state__in=ACTIVE)
