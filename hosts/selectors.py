"""Reads of what providers own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from django.db.models import QuerySet

from hosts.models import Host, HostState
from portal.core.errors import NotFound
from portal.quotas import ledger
from portal.tenancy.gate import Actor, parse_id
from portal.tenancy.roles import Permission


def hosts(actor: Actor) -> QuerySet[Host]:
    actor.require(Permission.HOST_READ)
    return Host.objects.all()


def host(actor: Actor, id_or_name: object) -> Host:
    """By id or by name."""
    rows = hosts(actor)
    found = rows.filter(name=str(id_or_name)).first()
    if found is None:
        found = rows.filter(pk=parse_id(str(id_or_name))).first()
    if found is None:
        raise NotFound("There is no such host.")
    return found


def claimed(host: Host) -> dict[str, int]:
    """What machines hold of the host, by resource."""
    return ledger.used(host.pk)


def claimed_of_each(hosts: Iterable[Host]) -> Mapping[UUID, dict[str, int]]:
    """The same for many hosts, in one query."""
    return ledger.used_by_account(host.pk for host in hosts)


def why_none_takes_machines() -> str:
    """Why no host takes a new machine now, in words for tenants; "" where one does."""
    hosts = list(Host.objects.all())
    offered = [host for host in hosts if host.state == HostState.ENABLED]
    if any(host.is_ready for host in offered):
        return ""
    if not hosts:
        return "There is no host. An administrator adds one under Provider, Hosts."
    if not offered:
        return "All hosts are cordoned and take no new machines. An administrator uncordons them under Provider, Hosts."
    return "No host is ready to run machines. An administrator sees why under Provider, Hosts."


def runs_by_emulation() -> bool:
    """Whether new machines will run without hardware virtualisation, as far as is known; tenants may know that."""
    offered = set(Host.objects.filter(state=HostState.ENABLED).exclude(accelerator="").values_list("accelerator"))
    return offered == {("qemu",)}
