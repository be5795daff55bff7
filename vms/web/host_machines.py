"""The machines of a host, on its page: what each does, and where it would go if the host were emptied now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from hosts.models import Host
from portal.operations.models import Operation
from portal.operations.selectors import active_on_each
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.paging import page_of
from vms.maintenance import reading
from vms.maintenance.plan import Move
from vms.models import VM
from vms.web.presenters import Status, size_words, status_of


@dataclass(frozen=True)
class HostMachine:
    """`way` is where it would go, or why it stays, and then `is_stuck`; "" where its host has failed. `move_url` is ""
    for who may not move it."""

    name: str
    url: str
    tenant: str
    size: str
    status: Status
    operation_url: str
    way: str
    is_stuck: bool
    move_url: str


def of_host(request: HttpRequest, host: Host) -> Mapping[str, Any]:
    """A page of them, newest first; as many queries for one as for all of it."""
    actor = actor_of(request)
    page = page_of(request, reading.machines_of(actor, host))
    ways = {} if host.has_failed else reading.ways_out(host, page.rows)
    busy = active_on_each(vm.pk for vm in page.rows)
    return {"page": page, "machines": [_row(actor, vm, ways.get(vm.pk), busy.get(vm.pk)) for vm in page.rows]}


def _row(actor: Actor, vm: VM, move: Move | None, operation: Operation | None) -> HostMachine:
    own = [vm.tenant.slug, vm.pk]
    return HostMachine(
        name=vm.name,
        url=reverse("vm-detail", args=own),
        tenant=vm.tenant.name,
        size=size_words(vm.vcpus, vm.memory_mib, vm.disk_gib),
        status=status_of(vm, operation),
        operation_url=reverse("operation-detail", args=[operation.pk]) if operation else "",
        way=_way(move) if move else "",
        is_stuck=move is None or move.target is None,
        move_url=reverse("vm-migrate", args=own) if move and actor.can(Permission.HOST_WRITE) else "",
    )


def _way(move: Move) -> str:
    if move.target is None:
        return " ".join((*move.obstacles, move.help)).strip()
    copied = f", with {move.copied_gib} GiB of disks" if move.copied_gib else ""
    return f"to {move.target.host.name}{copied}"
