"""Reads of what providers own."""

from __future__ import annotations

from django.db.models import QuerySet

from hosts.models import Host
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
