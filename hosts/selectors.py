"""Reads of what providers own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from hosts import metrics
from hosts.models import (
    BackupTarget,
    Cluster,
    FenceAgent,
    Host,
    HostState,
    HostUsage,
    Placement,
    StorageClass,
    StoragePool,
    TenantCluster,
)
from portal.core.errors import NotFound
from portal.quotas import ledger
from portal.tenancy.gate import Actor, parse_id
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission


def hosts(actor: Actor) -> QuerySet[Host]:
    actor.require(Permission.HOST_READ)
    return Host.objects.select_related("cluster", "access").prefetch_related(
        "storage_pools", "cluster__hosts__storage_pools"
    )


def names_of_hosts() -> list[str | None]:
    """What the hosts are reached by."""
    return [urlsplit(uri).hostname for uri in Host.objects.values_list("uri", flat=True)]


def clusters(actor: Actor) -> QuerySet[Cluster]:
    """By slug, with their hosts and the fence agents of these."""
    actor.require(Permission.HOST_READ)
    return Cluster.objects.prefetch_related(Prefetch("hosts", Host.objects.select_related("fence_agent")))


def cluster(actor: Actor, id_or_slug: object) -> Cluster:
    """By id or by slug."""
    rows = clusters(actor)
    found = rows.filter(slug=str(id_or_slug)).first() or rows.filter(pk=parse_id(str(id_or_slug))).first()
    if found is None:
        raise NotFound("There is no such cluster.")
    return found


def clusters_of_tenant(actor: Actor, tenant: Tenant) -> QuerySet[Cluster]:
    """Those that its new machines may be placed in; an empty list: all."""
    actor.require(Permission.HOST_READ)
    return Cluster.objects.filter(tenants__tenant=tenant)


def open_to(tenant_ids: Iterable[UUID]) -> set[UUID]:
    """The ids of the clusters in which new machines of these tenants may be; one that lists none may use all."""
    named: dict[UUID, set[UUID]] = {id: set() for id in tenant_ids}
    for tenant_id, cluster_id in TenantCluster.objects.filter(tenant__in=list(named)).values_list("tenant", "cluster"):
        named[tenant_id].add(cluster_id)
    if named and all(named.values()):
        return set().union(*named.values())
    return set(Cluster.objects.values_list("pk", flat=True))


def host(actor: Actor, id_or_name: object) -> Host:
    """By id or by name."""
    rows = hosts(actor)
    found = rows.filter(name=str(id_or_name)).first()
    if found is None:
        found = rows.filter(pk=parse_id(str(id_or_name))).first()
    if found is None:
        raise NotFound("There is no such host.")
    return found


def fence_agent(actor: Actor, host: Host) -> FenceAgent:
    actor.require(Permission.HOST_READ)
    found = FenceAgent.objects.filter(host=host).first()
    if found is None:
        raise NotFound("The host has no fence agent.")
    return found


def refused_placements(actor: Actor) -> QuerySet[Placement]:
    """Machines that no host took, newest first."""
    actor.require(Permission.HOST_READ)
    return Placement.objects.filter(host_name="")


def targets(actor: Actor) -> QuerySet[BackupTarget]:
    """The default one first, with what each host sees of it. Those who may only choose one see what takes backups."""
    actor.require_scope(Permission.FLAVOR_READ)
    rows = BackupTarget.objects.prefetch_related("reaches__host")
    return rows if actor.can(Permission.HOST_READ) else rows.filter(is_active=True)


def target(actor: Actor, id_or_slug: object) -> BackupTarget:
    """By id or by slug."""
    found = targets(actor).filter(slug=str(id_or_slug)).first()
    if found is None:
        found = targets(actor).filter(pk=parse_id(str(id_or_slug))).first()
    if found is None:
        raise NotFound("There is no such backup target.")
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
    if any(host.takes_machines for host in offered):
        return ""
    if not hosts:
        return "There is no host. An administrator adds one under Provider, Hosts."
    if not offered:
        return "All hosts are cordoned and take no new machines. An administrator uncordons them under Provider, Hosts."
    if any(host.is_ready for host in offered):
        return "A backup was restored, and the hosts are being read anew. Try again in a minute."
    return "No host is ready to run machines. An administrator sees why under Provider, Hosts."


def runs_by_emulation() -> bool:
    """Whether new machines will run without hardware virtualisation, as far as is known; tenants may know that."""
    offered = set(Host.objects.filter(state=HostState.ENABLED).exclude(accelerator="").values_list("accelerator"))
    return offered == {("qemu",)}


def storage_classes(actor: Actor) -> QuerySet[StorageClass]:
    """By slug: those that can be chosen, for the provider's staff retired ones as well."""
    rows = StorageClass.objects.all()
    return rows if actor.can(Permission.HOST_READ) else rows.filter(is_active=True)


def storage_class(actor: Actor, slug_or_id: object) -> StorageClass:
    rows = storage_classes(actor)
    found = rows.filter(slug=str(slug_or_id)).first() or rows.filter(pk=parse_id(str(slug_or_id))).first()
    if found is None:
        raise NotFound("There is no such storage class.")
    return found


def why_limits_stay(storage_class: StorageClass) -> str:
    """Why its limits cannot be changed, for people; "" where they can."""
    if not storage_class.pools.exists():
        return ""
    return "Disks are held to its limits. Make another class with other limits, and move disks to its pools."


def pools(actor: Actor, host: Host | None = None) -> QuerySet[StoragePool]:
    """Of one host, or of all; the default one of each first."""
    actor.require(Permission.HOST_READ)
    rows = StoragePool.objects.select_related("host", "storage_class")
    return rows.filter(host=host) if host is not None else rows.order_by("host__name", "-is_default", "name")


def pool(actor: Actor, host: Host, id_or_name: object) -> StoragePool:
    rows = pools(actor, host)
    found = rows.filter(name=str(id_or_name)).first() or rows.filter(pk=parse_id(str(id_or_name))).first()
    if found is None:
        raise NotFound("The host has no such pool.")
    return found


def used_by(host: Host, span: str) -> dict[str, Any]:
    """What the host used until now, as hosts.metrics.series says it."""
    return metrics.series(HostUsage.objects.filter(host=host), span, host.cpus, timezone.now())
