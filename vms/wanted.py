"""What a machine asks of its host: its size, its size's labels, its tenant's clusters, its groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db.models import F

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


def wanted_now(vm: VM, **more: Any) -> Wanted:
    """The same for a look that claims nothing: its groups may change meanwhile."""
    return _asked(vm, _groups_of(vm), more)


def _groups_of(vm: VM) -> list[AffinityGroup]:
    return list(AffinityGroup.objects.unscoped("of one in hand").filter(members=vm))


def _asked(vm: VM, own: Iterable[AffinityGroup], more: Mapping[str, Any]) -> Wanted:
    together: dict[str, UUID] = {}
    apart: dict[UUID, str] = {}
    for group in own:
        hosts = list(_hosts_of(group, vm.pk))
        if group.policy == GroupPolicy.APART:
            apart |= dict.fromkeys(hosts, group.name)
        elif hosts:
            together[group.name] = hosts[0]
    clusters = TenantCluster.objects.filter(tenant=vm.tenant_id).values_list("cluster_id", flat=True)
    asked = {
        "amounts": vm.wanted,
        "title": f"{vm.tenant.slug}/{vm.name}",
        "firmware": vm.firmware,
        "labels": frozenset(vm.flavor.host_labels),
        "clusters": frozenset(clusters),
        "together": together,
        "apart": apart,
    }
    return Wanted(**{**asked, **more})


def lock_groups(groups: Iterable[AffinityGroup]) -> None:
    """Until the transaction ends nobody else places a machine of them. Always in the same order."""
    for group in sorted(groups, key=lambda group: group.pk):
        AffinityGroup.objects.unscoped("of one in hand").filter(pk=group.pk).update(generation=F("generation") + 1)


def _hosts_of(group: AffinityGroup, other_than: UUID) -> Iterable[UUID]:
    """Of its members; one that has failed is left, and so none to be with or apart from."""
    rows = VM.objects.unscoped("of one in hand").filter(groups=group).exclude(pk=other_than)
    rows = rows.exclude(host__state=HostState.FAILED)
    return rows.order_by("created_at").values_list("host_id", flat=True)
