"""Hosts: adding, checking, and changing what an administrator may change."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from hosts import reach
from hosts.access import Access, why_misfit
from hosts.labels import checked
from hosts.models import DEFAULT_CLUSTER, Cluster, Host, HostAccess, HostState
from hosts.services.clusters import default_cluster
from hosts.services.locks import lock_host
from hosts.services.pools import add_default_pool
from hosts.uris import normal, why_refused
from hosts.workflows.preflight import PREFLIGHT
from portal.core import text
from portal.core.errors import Conflict, Invalid
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.quotas import ledger
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission

_HIGHEST_RATIO = {"cpu_ratio": Decimal(64), "memory_ratio": Decimal(4)}


@transaction.atomic
def add_host(
    *,
    actor: Actor,
    name: str,
    uri: str,
    cluster: str = DEFAULT_CLUSTER,
    labels: Sequence[str] = (),
    access: Access | None = None,
    pool_path: str = "",
) -> tuple[Host, Operation]:
    """Register a host in a cluster, by slug; its preflight decides whether it will run anything.

    Without `access` a host that is reached over the network is shown what Berth's user has on the portal's machine.
    `pool_path` is the directory of its default pool; "" is that of the installation.
    """
    actor.require(Permission.HOST_WRITE)
    text.no_id(text.hostname(name))
    if refused := why_refused(uri, allows_tcp=settings.ALLOW_TCP):
        raise Invalid(refused, field="uri")
    uri = normal(uri)
    host = Host(
        name=name,
        uri=uri,
        access=_kept(uri, access),
        cluster=_cluster(cluster),
        labels=checked(labels),
        pool_name=settings.INSTANCE,
        pool_path=pool_path or settings.POOL_PATH,
        network_name=settings.INSTANCE,
    )
    try:
        with transaction.atomic():
            host.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict("There is a host with this name or URI already.", code="duplicate", field="name") from error
    ledger.open_account(host.pk)
    add_default_pool(host)
    after = {"uri": uri, "cluster": host.cluster.slug, **_told(host.access)}
    log.record("host.added", actor=actor, target=host, after=after)
    return host, preflight(actor=actor, host=host)


@transaction.atomic
def set_access(*, actor: Actor, host: Host, access: Access) -> Host:
    """Reach it with another key or other certificates from now on. It is checked at once, unless that is going on."""
    actor.require(Permission.HOST_WRITE)
    lock_host(host)
    before, host.access = host.access, _kept(host.uri, access)
    host.save(update_fields=["access"])
    log.record("host.access-changed", actor=actor, target=host, before=_told(before), after=_told(host.access))
    if before is not None:
        before.delete()
    if operations.active_on("host", host.pk) is None:
        preflight(actor=actor, host=host)
    return host


def _kept(uri: str, access: Access | None) -> HostAccess | None:
    if access is None:
        return None
    if reason := why_misfit(uri, access):
        raise Invalid(reason, field="uri")
    kept = HostAccess.of(access)
    kept.save(force_insert=True)
    return kept


def _told(access: HostAccess | None) -> dict[str, str]:
    """What the log says of it."""
    return {"access": access.fingerprint} if access else {}


@transaction.atomic
def preflight(*, actor: Actor, host: Host) -> Operation:
    """Look at the host again: facts, pool, network, and a trivial guest for each accelerator."""
    actor.require(Permission.HOST_WRITE)
    lock_host(host)
    return operations.submit(PREFLIGHT, actor=actor, target=host, title=f"Check host {host.name}", lane=host.pk)


@transaction.atomic
def remove_host(*, actor: Actor, host: Host) -> None:
    """Let go of an empty host; what lies on it stays there.

    Raises Conflict where machines or disks are on it, or an operation works on it or on something of it.
    """
    actor.require(Permission.HOST_WRITE)
    lock_host(host)
    if ledger.used(host.pk):
        raise Conflict("Machines or disks are on it. Move or delete them first.", code="in_use")
    operations.refuse_if_at_work(host.pk)
    log.record("host.removed", actor=actor, target=host, before={"uri": host.uri, "cluster": host.cluster.slug})
    _leave_shared_files(host)
    try:
        with transaction.atomic():
            ledger.close_account(host.pk)
            host.delete()
            if host.access is not None:
                host.access.delete()
    except ProtectedError as error:
        raise Conflict(
            "Something of it is still in use, or being worked on. Try again later.", code="in_use"
        ) from error


def _leave_shared_files(host: Host) -> None:
    """What disks of other hosts stand on may have its row in a pool of this one, and is another's that sees it."""
    for pool in host.storage_pools.all():
        other = reach.same_storage(pool).exclude(host=host).order_by("host__name").first()
        if other is not None:
            pool.layers.update(pool=other)


@transaction.atomic
def set_state(*, actor: Actor, host: Host, state: HostState) -> Host:
    """Cordon (no new machines) or enable; what runs is left alone. Raises Conflict for one that was fenced off."""
    actor.require(Permission.HOST_WRITE)
    lock_host(host)  # what is being placed there is there before its state changes
    if host.has_failed:
        words = "It failed and was fenced off. When it answers again it is cleared of what runs elsewhere by now."
        raise Conflict(words, code="wrong_state")
    before, host.state = host.state, state
    host.save(update_fields=["state"])
    log.record("host.state-changed", actor=actor, target=host, before={"state": before}, after={"state": state})
    return host


@transaction.atomic
def set_policy(
    *,
    actor: Actor,
    host: Host,
    cpu_ratio: Decimal | None = None,
    memory_ratio: Decimal | None = None,
    memory_reserved_mib: int | None = None,
    dedicated_cpus: int | None = None,
) -> Host:
    """Over-commit ratios, memory kept for the host itself, and CPUs for dedicated machines alone; None: as it is.

    Lowering ratios blocks new machines and harms none. Which CPUs are kept is changed on an empty host only: what runs
    there would go on running on them.
    """
    actor.require(Permission.HOST_WRITE)
    given: dict[str, Any] = {
        "cpu_ratio": cpu_ratio,
        "memory_ratio": memory_ratio,
        "memory_reserved_mib": memory_reserved_mib,
        "dedicated_cpus": dedicated_cpus,
    }
    wanted = {name: value for name, value in given.items() if value is not None}
    lock_host(host)
    _check_policy(host, wanted)
    before = {name: str(getattr(host, name)) for name in wanted}
    for name, value in wanted.items():
        setattr(host, name, value)
    host.save(update_fields=list(wanted))
    after = {name: str(value) for name, value in wanted.items()}
    log.record("host.policy-changed", actor=actor, target=host, before=before, after=after)
    return host


@transaction.atomic
def set_labels(*, actor: Actor, host: Host, labels: Sequence[str]) -> Host:
    """Words for what some machines ask of their host, instead of the ones that it has; those that run stay."""
    actor.require(Permission.HOST_WRITE)
    lock_host(host)
    before, host.labels = host.labels, checked(labels)
    if host.labels != before:
        host.save(update_fields=["labels"])
        log.record("host.labelled", actor=actor, target=host, before={"labels": before}, after={"labels": host.labels})
    return host


@transaction.atomic
def set_peer_uri(*, actor: Actor, host: Host, uri: str, allows_tcp: bool = False) -> Host:
    """How other hosts' libvirtd reach this one's, for machines that are handed over; "" is as Berth reaches it.

    `allows_tcp`: by qemu+tcp too, whatever the installation takes. What it is already is not refused again.
    """
    actor.require(Permission.HOST_WRITE)
    lock_host(host)
    before, host.peer_uri = host.peer_uri, uri
    if before == uri:
        return host
    if uri and (refused := why_refused(uri, allows_tcp=allows_tcp or settings.ALLOW_TCP)):
        raise Invalid(refused, field="peer_uri")
    host.save(update_fields=["peer_uri"])
    log.record("host.peer-uri-changed", actor=actor, target=host, before={"uri": before}, after={"uri": uri})
    return host


@transaction.atomic
def set_cluster(*, actor: Actor, host: Host, cluster: str) -> Host:
    """Put an empty host into another cluster; its check then asks for that one's network. Raises Conflict."""
    actor.require(Permission.HOST_WRITE)
    wanted = _cluster(cluster)
    lock_host(host)
    if wanted.pk == host.cluster_id:
        return host
    if ledger.used(host.pk):
        words = "Machines or disks are on it. Only an empty host can change its cluster, for its network changes."
        raise Conflict(words, code="in_use", field="cluster")
    before, host.cluster = host.cluster, wanted
    host.save(update_fields=["cluster"])
    log.record("host.moved", actor=actor, target=host, before={"cluster": before.slug}, after={"cluster": wanted.slug})
    preflight(actor=actor, host=host)
    return host


def _cluster(slug: str) -> Cluster:
    if slug == DEFAULT_CLUSTER:
        return default_cluster()
    found = Cluster.objects.filter(slug=slug).first()
    if found is None:
        raise Invalid("There is no such cluster.", code="unknown_reference", field="cluster")
    return found


def _check_policy(host: Host, wanted: dict[str, Any]) -> None:
    """The host is locked."""
    for name, most in _HIGHEST_RATIO.items():
        if name in wanted:
            _check_ratio(wanted[name], name, most)
    if not 0 <= wanted.get("memory_reserved_mib", 0) <= 2**31 - 1:
        raise Invalid("Use a number of MiB from 0.", field="memory_reserved_mib")
    if wanted.get("dedicated_cpus", host.dedicated_cpus) != host.dedicated_cpus:
        _check_dedicated(host, wanted["dedicated_cpus"])


def _check_dedicated(host: Host, wanted: int) -> None:
    most = max(host.cpus - 1, 0)
    if not 0 <= wanted <= most:
        words = f"Use a number from 0 to {most}: at least one CPU is left for all else."
        raise Invalid(words, field="dedicated_cpus")
    if ledger.used(host.pk).get("vcpus"):
        words = "Machines are on the host. Which CPUs are kept for dedicated ones is changed while it has none."
        raise Conflict(words, code="host_not_empty", field="dedicated_cpus")


def _check_ratio(value: Decimal, field: str, most: Decimal) -> None:
    if not value.is_finite() or not Decimal("0.1") <= value <= most:
        raise Invalid(f"Use a ratio from 0.1 to {most}.", field=field)


def forget_what_they_have() -> None:
    """After a restore: a host may have machines that nobody knows, and takes no new ones before it was read."""
    Host.objects.update(is_unknown=True)
