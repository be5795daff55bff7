"""For `./run lab`: make its hosts those of the portal, and let go of them again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.db.models import QuerySet

from hosts.models import Cluster, Failover, Host, StorageClass, StoragePool, TenantCluster
from hosts.services.classes import create_class
from hosts.services.clusters import SOONEST_FAILOVER, add_cluster, remove_cluster
from hosts.services.fencing import set_agent
from hosts.services.hosts import add_host, remove_host, set_peer_uri
from hosts.services.pools import RegisterPool, register_pool
from portal.core.errors import Conflict, DomainError
from portal.operations.models import Operation
from portal.operations.states import FINAL, State
from portal.tenancy.gate import SYSTEM
from vms.models import VM, Lifecycle, Volume
from vms.services.delete import delete_vm, purge_vm
from vms.services.volumes import delete_volume

T = TypeVar("T")
R = TypeVar("R")
CLUSTER = "lab"
POOL = "lab-shared"
AGENT = "fence_lab"
SECONDS = 180.0


class Command(BaseCommand):
    help = "Add the hosts of a lab (NAME=URI ...), or remove all of them with the machines that are on them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=("add", "remove"))
        parser.add_argument("hosts", nargs="*", metavar="NAME=URI")
        parser.add_argument("--peers", nargs="*", default=[], metavar="NAME=URI", help="How they reach each other.")
        parser.add_argument("--plugs", nargs="*", default=[], metavar="NAME=PLUG", help="What fence_lab is told.")
        parser.add_argument("--own", default="", help="The directory of their default pools; each has its own there.")
        parser.add_argument("--shared", default="", help="A directory that all of them see.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["what"] == "add":
                wanted = _pairs(options["hosts"])
                self._add(wanted, options["own"])
                hosts = Host.objects.filter(uri__in=wanted.values())  # one of this name may be another machine
                _connect(hosts, _pairs(options["peers"]), _pairs(options["plugs"]))
                self._wait(_share(hosts, options["shared"]))
                self._tell()
            else:
                self._remove()
        except DomainError as refusal:
            raise CommandError(refusal.detail) from refusal

    def _add(self, wanted: Mapping[str, str], own: str) -> None:
        if not Cluster.objects.filter(slug=CLUSTER).exists():
            policy = {"failover": Failover.AUTOMATIC, "failover_after": SOONEST_FAILOVER}
            add_cluster(actor=SYSTEM, slug=CLUSTER, name="Lab", **policy)
        checks = []
        for name, uri in wanted.items():
            if not Host.objects.filter(name=name).exists():
                checks.append(add_host(actor=SYSTEM, name=name, uri=uri, cluster=CLUSTER, pool_path=own)[1])
        self._wait(checks)

    def _tell(self) -> None:
        cluster = Cluster.objects.get(slug=CLUSTER)
        for host in cluster.hosts.all():
            address = urlsplit(host.peer_uri).hostname or "no address"
            self.stdout.write(f"{host.name}: {host.health}, {address}, {host.cpus} CPUs, {host.memory_mib} MiB")
        policy = f"{cluster.get_failover_display()} (after {cluster.failover_after} s of silence)"
        self.stdout.write(f"When a host fails: {policy}. Provider, Hosts, {cluster.name}, Change policy changes that.")

    def _remove(self) -> None:
        hosts = list(Host.objects.filter(cluster__slug=CLUSTER))
        machines = VM.objects.unscoped("lab").filter(host__in=hosts)
        machines.update(is_protected=False)
        self._wait([_patiently(_end, vm) for vm in machines.select_related("tenant", "host", "image", "flavor")])
        volumes = Volume.objects.unscoped("lab").filter(layer__pool__host__in=hosts)
        self._wait([_patiently(_delete, volume) for volume in volumes])
        _patiently(_let_go, hosts)
        self.stdout.write(f"No hosts of the portal any more: {', '.join(host.name for host in hosts) or 'none'}.")

    def _wait(self, operations: list[Operation]) -> None:
        until = time.monotonic() + SECONDS
        for operation in operations:
            while operation.state not in FINAL and time.monotonic() < until:
                time.sleep(0.5)
                operation.refresh_from_db(from_queryset=Operation.objects.unscoped("lab"))
            if operation.state != State.SUCCEEDED:
                words = (operation.error or {}).get("detail", "It is still under way.")
                self.stderr.write(f"{operation.title}: {words}")


def _pairs(given: Iterable[str]) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in given)


def _connect(hosts: QuerySet[Host], peers: Mapping[str, str], plugs: Mapping[str, str]) -> None:
    """What an administrator has set otherwise stays."""
    for host in hosts.filter(name__in=peers, peer_uri=""):
        set_peer_uri(actor=SYSTEM, host=host, uri=peers[host.name], allows_tcp=True)
    for host in hosts.filter(name__in=plugs, fence_agent=None):
        set_agent(actor=SYSTEM, host=host, agent=AGENT, options={"plug": plugs[host.name]})


def _share(hosts: Iterable[Host], path: str) -> list[Operation]:
    """A pool in the directory that all of them see, on each that is ready."""
    if not path:
        return []
    if not StorageClass.objects.filter(slug=POOL).exists():
        words = "In a directory that all hosts of the lab see."
        create_class(actor=SYSTEM, slug=POOL, name="Shared in the lab", description=words)
    having = set(StoragePool.objects.filter(name=POOL).values_list("host_id", flat=True))
    ready = [host for host in hosts if host.is_ready and host.pk not in having]
    wanted = RegisterPool(name=POOL, storage_class=POOL, path=path)
    return [register_pool(actor=SYSTEM, host=host, request=wanted)[1] for host in ready]


@transaction.atomic
def _let_go(hosts: Iterable[Host]) -> None:
    for host in hosts:
        remove_host(actor=SYSTEM, host=host)
    TenantCluster.objects.filter(cluster__slug=CLUSTER).delete()
    if (cluster := Cluster.objects.filter(slug=CLUSTER).first()) is not None:
        remove_cluster(actor=SYSTEM, cluster=cluster)


def _patiently(ask: Callable[[T], R], target: T) -> R:
    """What is under way on it may end first."""
    until = time.monotonic() + SECONDS
    while True:
        try:
            return ask(target)
        except Conflict:
            if time.monotonic() > until:
                raise
            time.sleep(1)


def _delete(volume: Volume) -> Operation:
    return delete_volume(actor=SYSTEM, volume=volume)


def _end(vm: VM) -> Operation:
    vm.refresh_from_db(from_queryset=VM.objects.unscoped("lab"))
    is_in_bin = vm.is_binned and vm.lifecycle == Lifecycle.DELETING
    return purge_vm(actor=SYSTEM, vm=vm) if is_in_bin else delete_vm(actor=SYSTEM, vm=vm, purge=True)
