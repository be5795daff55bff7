"""Clusters: groups of hosts with one network and one baseline, and which tenants may use them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from hosts import selectors
from hosts.models import DEFAULT_CLUSTER, Cluster, Convergence, Failover, Spread, TenantCluster
from hosts.service_class import SHARING
from portal.core import text
from portal.core.errors import Conflict, Invalid, NotFound
from portal.events import log
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission

MOST_RESERVED = 16
SOONEST_FAILOVER, LATEST_FAILOVER = 30, 3600  # seconds
WIDEST_NETWORK, NARROWEST_NETWORK = 16, 28
# RFC 1918: what Python calls private has loopback, link-local and reserved addresses as well.
_PRIVATE = tuple(ipaddress.IPv4Network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
_CPU_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}|")
FASTEST_MIB_S = 1_000_000
MOST_VCPUS = 64  # that a CPU may carry
_FACTS = (
    "name",
    "cpu_model",
    "spread",
    "failure_reserve",
    "class_ratios",
    "failover",
    "failover_after",
    "network_cidr",
    "migration_mib_s",
    "convergence",
)


def default_cluster() -> Cluster:
    """Where hosts go that name no other; it is made with the first one."""
    return Cluster.objects.get_or_create(slug=DEFAULT_CLUSTER, defaults={"name": "Default"})[0]


@transaction.atomic
def add_cluster(*, actor: Actor, slug: str, name: str = "", **policy: Any) -> Cluster:
    """`policy`: the fields of the row beside its names. Without a CIDR it becomes that of the first host.

    Raises Invalid at the field, or Conflict where the slug is taken.
    """
    actor.require(Permission.HOST_WRITE)
    cluster = Cluster(slug=text.no_id(text.slug(slug), "slug"), name=text.label(name or slug))
    _set_policy(cluster, policy)
    try:
        with transaction.atomic():
            cluster.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict("There is a cluster with this slug already.", code="duplicate", field="slug") from error
    log.record("cluster.added", actor=actor, target=cluster, after=_facts(cluster))
    return cluster


@transaction.atomic
def change_cluster(*, actor: Actor, cluster: Cluster, **changes: Any) -> Cluster:
    """Name and policy. The processor model stays while machines are there: each was shown it when it started."""
    actor.require(Permission.HOST_WRITE)
    _lock(cluster)
    before = _facts(cluster)
    if "name" in changes:
        cluster.name = text.label(changes["name"])
    _set_policy(cluster, changes)
    cluster.save(update_fields=list(changes))
    if _facts(cluster) != before:
        log.record("cluster.changed", actor=actor, target=cluster, before=before, after=_facts(cluster))
    return cluster


@transaction.atomic
def remove_cluster(*, actor: Actor, cluster: Cluster) -> None:
    """Only one without hosts, which no tenant is held to."""
    actor.require(Permission.HOST_WRITE)
    try:
        with transaction.atomic():
            log.record("cluster.removed", actor=actor, target=cluster, before=_facts(cluster))
            cluster.delete()
    except ProtectedError as error:
        words = "It has hosts, or addresses or tenants that belong to it. Move them to another cluster first."
        raise Conflict(words, code="in_use") from error


@transaction.atomic
def allow_clusters(*, actor: Actor, tenant: Tenant, clusters: Iterable[Cluster]) -> None:
    """Those that the tenant's new machines may be placed in; none listed: all. What runs elsewhere stays."""
    actor.require(Permission.HOST_WRITE)
    wanted = {cluster.pk: cluster for cluster in clusters}
    rows = TenantCluster.objects.filter(tenant=tenant)
    before = sorted(rows.values_list("cluster__slug", flat=True))
    after = sorted(cluster.slug for cluster in wanted.values())
    if before == after:
        return
    rows.exclude(cluster__in=wanted).delete()
    for cluster in wanted.values():
        TenantCluster.objects.get_or_create(tenant=tenant, cluster=cluster)
    told: dict[str, Any] = {"before": {"clusters": before}, "after": {"clusters": after}}
    log.record("tenant.clusters-changed", actor=actor, target=tenant, **told)


def _lock(cluster: Cluster) -> None:
    """Brings `cluster` up to date; nobody else changes it until the transaction ends. Raises NotFound."""
    try:
        cluster.refresh_from_db(from_queryset=Cluster.objects.select_for_update(no_key=True))
    except Cluster.DoesNotExist:
        raise NotFound("This cluster is gone.") from None


def _set_policy(cluster: Cluster, values: dict[str, Any]) -> None:
    if "cpu_model" in values:
        if not _CPU_MODEL.fullmatch(values["cpu_model"]):
            raise Invalid("Use a processor model of libvirt's, such as Westmere, or none.", field="cpu_model")
        if cluster.cpu_model != values["cpu_model"] and any(selectors.claimed_of_each(cluster.hosts.all()).values()):
            raise Conflict("Machines of this cluster run with its processor model.", code="in_use", field="cpu_model")
        cluster.cpu_model = values["cpu_model"]
    if "network_cidr" in values:
        _set_network(cluster, values["network_cidr"])
    if "spread" in values:
        if values["spread"] not in Spread.values:
            raise Invalid(f"Use one of: {', '.join(Spread.values)}.", field="spread")
        cluster.spread = values["spread"]
    if "failure_reserve" in values:
        if not 0 <= values["failure_reserve"] <= MOST_RESERVED:
            raise Invalid(f"Use a number of hosts from 0 to {MOST_RESERVED}.", field="failure_reserve")
        cluster.failure_reserve = values["failure_reserve"]
    if "class_ratios" in values:
        cluster.class_ratios = _checked_ratios(values["class_ratios"])
    _set_failover(cluster, values)
    _set_migration(cluster, values)


def _set_failover(cluster: Cluster, values: dict[str, Any]) -> None:
    if "failover" in values:
        if values["failover"] not in Failover.values:
            raise Invalid(f"Use one of: {', '.join(Failover.values)}.", field="failover")
        cluster.failover = values["failover"]
    if "failover_after" in values:
        if not SOONEST_FAILOVER <= values["failover_after"] <= LATEST_FAILOVER:
            words = f"Use a number of seconds from {SOONEST_FAILOVER} to {LATEST_FAILOVER}."
            raise Invalid(words, field="failover_after")
        cluster.failover_after = values["failover_after"]


def _set_migration(cluster: Cluster, values: dict[str, Any]) -> None:
    """For migrations that begin from now on."""
    if "migration_mib_s" in values:
        if not 0 <= values["migration_mib_s"] <= FASTEST_MIB_S:
            raise Invalid(f"Use MiB a second from 0 (no limit) to {FASTEST_MIB_S}.", field="migration_mib_s")
        cluster.migration_mib_s = values["migration_mib_s"]
    if "convergence" in values:
        if values["convergence"] not in Convergence.values:
            raise Invalid(f"Use one of: {', '.join(Convergence.values)}.", field="convergence")
        cluster.convergence = values["convergence"]


def _checked_ratios(ratios: Mapping[str, Decimal | None]) -> dict[str, float]:
    """By class; None and what is left out is no policy."""
    if unknown := sorted(set(ratios) - set(SHARING)):
        words = f"There is no ratio for {unknown[0][:20]}: use {', '.join(SHARING)}."
        raise Invalid(words, field="class_ratios")
    wanted = {name: ratio for name, ratio in ratios.items() if ratio is not None}
    if not all(ratio.is_finite() and 1 <= ratio <= MOST_VCPUS for ratio in wanted.values()):
        raise Invalid(f"Use ratios from 1 to {MOST_VCPUS}.", field="class_ratios")
    return {str(name): float(ratio) for name, ratio in sorted(wanted.items())}


def _set_network(cluster: Cluster, cidr: str) -> None:
    if cidr == cluster.network_cidr:
        return
    if not cluster._state.adding and cluster.hosts.exists():
        raise Conflict("It has hosts with its network already.", code="in_use", field="network_cidr")
    try:
        network = ipaddress.IPv4Network(cidr) if cidr else None
    except ValueError as error:
        raise Invalid("Use an IPv4 network, such as 10.75.0.0/20, or none.", field="network_cidr") from error
    if network and not (_is_private(network) and WIDEST_NETWORK <= network.prefixlen <= NARROWEST_NETWORK):
        words = f"Use a private network of /{WIDEST_NETWORK} to /{NARROWEST_NETWORK}."
        raise Invalid(words, field="network_cidr")
    cluster.network_cidr = str(network or "")


def _is_private(network: ipaddress.IPv4Network) -> bool:
    return any(network.subnet_of(each) for each in _PRIVATE)


def _facts(cluster: Cluster) -> dict[str, Any]:
    return {name: getattr(cluster, name) for name in _FACTS}
