"""What a machine asks of its host: its size, its size's labels, its tenant's clusters, its groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import F, Prefetch

from hosts.models import HostState, TenantCluster
from hosts.placement import Wanted
from vms.models import VM, AffinityGroup, GroupPolicy


def wanted_of(vm: VM, groups: Iterable[AffinityGroup] | None = None, **more: Any) -> Wanted:
    """For placing it anew or for moving it, in a transaction: its groups stay as they are until that ends.

    `groups` are those that it is about to join; left out, those that it is in. `more` are fields of Wanted.
    """
    own = _groups_of(vm) if groups is None else list(groups)
    lock_groups(own)
    return _asked(vm, own, more)


def bonds_of(vms: Iterable[VM]) -> Mapping[UUID, tuple[Bond, ...]]:
    """By machine, what its groups are to it; nothing where it is in none. Two queries."""
    rows = AffinityGroup.objects.unscoped("of those in hand").filter(members__in=[vm.pk for vm in vms]).distinct()
    found: dict[UUID, tuple[Bond, ...]] = {}
    for group in rows.prefetch_related(_with_members()):
        bond = _bond(group)
        for member in bond.hosts:
            found[member] = (*found.get(member, ()), bond)
    return found


@dataclass(frozen=True)
class Bond:
    """A group as it concerns where its machines go: by member, the oldest first, the host that it is on.

    Those on hosts in `leaving`, which are being emptied, keep nobody with them: the group gathers elsewhere.
    """

    name: str
    is_apart: bool
    hosts: Mapping[UUID, UUID]
    leaving: frozenset[UUID] = frozenset()


def wishes(vm_id: UUID, bonds: Iterable[Bond], moved: Mapping[UUID, UUID], leaving: frozenset[UUID]) -> dict[str, Any]:
    """Fields of Wanted; `moved` are machines that are on another host by then, `leaving` more hosts to be emptied."""
    together: dict[str, UUID] = {}
    apart: dict[UUID, str] = {}
    for bond in bonds:
        hosts = [moved.get(member, host) for member, host in bond.hosts.items() if member != vm_id]
        if bond.is_apart:
            apart |= dict.fromkeys(hosts, bond.name)
        elif staying := [host for host in hosts if host not in bond.leaving | leaving]:
            together[bond.name] = staying[0]
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


def _with_members() -> Prefetch[str]:
    return Prefetch("members", VM.objects.unscoped("of a group in hand").select_related("host").order_by("created_at"))


def _groups_of(vm: VM) -> list[AffinityGroup]:
    return list(AffinityGroup.objects.unscoped("of one in hand").filter(members=vm))


def _asked(vm: VM, own: Sequence[AffinityGroup], more: Mapping[str, Any]) -> Wanted:
    rows = AffinityGroup.objects.unscoped("of one in hand").filter(pk__in=[group.pk for group in own])
    groups = rows.prefetch_related(_with_members()) if own else []  # as they are now that they are locked
    return asked(vm, map(_bond, groups), {"clusters": clusters_of(vm.tenant_id), **more})


def clusters_of(tenant_id: UUID) -> frozenset[UUID]:
    """Those that a tenant may use; empty where that is any."""
    return frozenset(TenantCluster.objects.filter(tenant=tenant_id).values_list("cluster_id", flat=True))


def _bond(group: AffinityGroup) -> Bond:
    """Of its members; one whose host has failed is left, and so none to be with or apart from."""
    members = [vm for vm in group.members.all() if vm.host.state != HostState.FAILED]
    leaving = frozenset(vm.host_id for vm in members if vm.host.state == HostState.DRAINING)
    is_apart = group.policy == GroupPolicy.APART
    return Bond(group.name, is_apart, {vm.pk: vm.host_id for vm in members}, leaving)


def lock_groups(groups: Iterable[AffinityGroup]) -> None:
    """Until the transaction ends nobody else places a machine of them. Always in the same order."""
    for group in sorted(groups, key=lambda group: group.pk):
        AffinityGroup.objects.unscoped("of one in hand").filter(pk=group.pk).update(generation=F("generation") + 1)
