"""What a machine asks of its host: its size, its size's labels, its tenant's clusters, its groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from uuid import UUID

from django.db.models import F, Prefetch, QuerySet

from hosts.models import Host, HostState, TenantCluster
from hosts.placement import Wanted
from vms import moves
from vms.models import VM, AffinityGroup, GroupPolicy


def wanted_of(vm: VM, groups: Iterable[AffinityGroup] | None = None, **more: Any) -> Wanted:
    """For placing it anew or for moving it, in a transaction: its groups stay as they are until that ends.

    `groups` are those that it is about to join; left out, those that it is in. `more` are fields of Wanted.
    """
    own = _groups_of(vm) if groups is None else list(groups)
    lock_groups(own)
    return _asked(vm, own, more)


def bonds_of(vms: Iterable[VM]) -> Mapping[UUID, tuple[Bond, ...]]:
    """By machine, what its groups are to it; nothing where it is in none. As many queries for one as for all."""
    rows = AffinityGroup.objects.unscoped("of those in hand").filter(members__in=[vm.pk for vm in vms]).distinct()
    found: dict[UUID, tuple[Bond, ...]] = {}
    for bond in _bonds(rows):
        for member in bond.hosts:
            found[member] = (*found.get(member, ()), bond)
    return found


@dataclass(frozen=True)
class Bond:
    """A group as it concerns where its machines go: by member, the oldest first, the host that it is on. One that is
    on its way counts on both hosts: it may stay on the one, and may be on the other at any moment.

    Those on hosts in `leaving`, which are being emptied, keep nobody with them: the group gathers elsewhere.
    """

    name: str
    is_apart: bool
    hosts: Mapping[UUID, frozenset[UUID]]
    leaving: frozenset[UUID] = frozenset()


def wishes(vm_id: UUID, bonds: Iterable[Bond], moved: Mapping[UUID, UUID], leaving: frozenset[UUID]) -> dict[str, Any]:
    """Fields of Wanted; `moved` are machines that are on another host by then, `leaving` more hosts to be emptied."""
    together: dict[str, UUID | None] = {}
    apart: dict[UUID, str] = {}
    for bond in bonds:
        others = [
            frozenset([moved[member]]) if member in moved else hosts
            for member, hosts in bond.hosts.items()
            if member != vm_id
        ]
        if bond.is_apart:
            apart |= dict.fromkeys(chain.from_iterable(others), bond.name)
        elif staying := [hosts for each in others if (hosts := each - bond.leaving - leaving)]:
            together[bond.name] = next(iter(staying[0])) if len(staying[0]) == 1 else None
    return {"together": together, "apart": apart}


def asked(vm: VM, bonds: Iterable[Bond], more: Mapping[str, Any]) -> Wanted:
    """What it asks for as far as its row says it, and `more`, fields of Wanted."""
    own = {
        "amounts": vm.wanted,
        "title": f"{vm.tenant.slug}/{vm.name}",
        "firmware": vm.firmware,
        "labels": frozenset(vm.flavor.host_labels),
    }
    return Wanted(**{**own, **wishes(vm.pk, bonds, {}, frozenset()), **more})


def _groups_of(vm: VM) -> list[AffinityGroup]:
    return list(AffinityGroup.objects.unscoped("of one in hand").filter(members=vm))


def _asked(vm: VM, own: Sequence[AffinityGroup], more: Mapping[str, Any]) -> Wanted:
    rows = AffinityGroup.objects.unscoped("of one in hand").filter(pk__in=[group.pk for group in own])
    bonds = _bonds(rows) if own else []  # as they are now that they are locked
    return asked(vm, bonds, {"clusters": clusters_of(vm.tenant_id), **more})


def clusters_of(tenant_id: UUID) -> frozenset[UUID]:
    """Those that a tenant may use; empty where that is any."""
    return frozenset(TenantCluster.objects.filter(tenant=tenant_id).values_list("cluster_id", flat=True))


def _bonds(groups: QuerySet[AffinityGroup]) -> list[Bond]:
    members = VM.objects.unscoped("of groups in hand")
    arriving = moves.destinations(members.filter(groups__in=groups))
    prefetch = Prefetch("members", members.select_related("host").order_by("created_at"))
    return [_bond(group, arriving) for group in groups.prefetch_related(prefetch)]


def _bond(group: AffinityGroup, arriving: Mapping[UUID, Host]) -> Bond:
    """Of its members; one whose host has failed is left, and so none to be with or apart from."""
    hosts: dict[UUID, frozenset[UUID]] = {}
    leaving: set[UUID] = set()
    for vm in group.members.all():
        own = [host for host in (vm.host, arriving.get(vm.pk)) if host is not None and not host.has_failed]
        leaving |= {host.pk for host in own if host.state == HostState.DRAINING}
        if own:
            hosts[vm.pk] = frozenset(host.pk for host in own)
    return Bond(group.name, group.policy == GroupPolicy.APART, hosts, frozenset(leaving))


def lock_groups(groups: Iterable[AffinityGroup]) -> None:
    """Until the transaction ends nobody else places a machine of them. Always in the same order."""
    for group in sorted(groups, key=lambda group: group.pk):
        AffinityGroup.objects.unscoped("of one in hand").filter(pk=group.pk).update(generation=F("generation") + 1)
