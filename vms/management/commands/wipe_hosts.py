"""For `./run reset`: remove from all hosts what belongs to this installation, and nothing else.

Backups stay in their targets; only the hosts' pools for these go. `--lab` names the directory of a lab, which goes
as a whole afterwards: of what lies there nothing is said to stay.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from hosts.connections import driver_for
from hosts.driver.base import Driver
from hosts.driver.errors import DriverError, NotFound
from hosts.driver.types import DomainFacts, PoolContents
from hosts.models import BackupTarget, Host
from hosts.reach import TOKEN
from portal.quotas.models import Claim
from portal.tenancy.models import Tenant
from vms.audit import names
from vms.audit.compare import is_ours
from vms.models import VM, Image, Layer, Snapshot


class Command(BaseCommand):
    help = "Delete machines, volumes, pools and network of this installation from its hosts, and print what stays."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--lab", default="", metavar="DIRECTORY", help="It is deleted afterwards, with its hosts.")

    def handle(self, *args: Any, **options: Any) -> None:
        self.lab = options["lab"]
        logging.getLogger("hosts.connections").setLevel(logging.WARNING)  # whoever asked for it reads along
        failures: dict[str, str] = {}
        self.left: dict[UUID, Left] = {}
        for work in (_wipe, self._look, self._close):  # a pool that hosts share is wiped before any looks what stays
            for host in Host.objects.all():
                try:
                    if host.name not in failures:
                        work(host)
                except DriverError as error:
                    failures[host.name] = str(error)
        if failures:
            raise CommandError("; ".join(f"{name}: {words}" for name, words in failures.items()))

    def _look(self, host: Host) -> None:
        self.left[host.pk] = _what_stays(host)

    def _close(self, host: Host) -> None:
        left = self.left[host.pk]
        _close(host, left)
        self._tell(host, _without_lab(host, left, self.lab) if self.lab else left)

    def _tell(self, host: Host, left: Left) -> None:
        for words in left.unknown:
            self.stdout.write(f"{host.name}: {words} stays, for this installation does not know it")
        kept = [
            *(f"pool {pool}" for pool in left.pools),
            *([f"network {host.network_name}"] if left.has_network else []),
        ]
        if kept:
            self.stdout.write(f"{host.name}: {' and '.join(kept)} {'stay' if kept[1:] else 'stays'} with it")
        for target in left.targets:
            self.stdout.write(f"{host.name}: the backups in {target.path} ({target.name}) stay")


@dataclass(frozen=True)
class Left:
    """What stays on a host: what is not ours, in words; pools with such in them; backup targets, by their files."""

    unknown: list[str]
    pools: list[str]
    has_network: bool
    targets: list[BackupTarget]


def _without_lab(host: Host, left: Left, lab: str) -> Left:
    """What is left once the directory of the lab is gone, with the hosts that live in it."""
    is_its_host = f"={lab}/" in host.uri  # its socket
    going = [lab, "/var/lib/libvirt"] if is_its_host else [lab]  # such a host has a place of its own there
    targets = [each for each in left.targets if not any(PurePosixPath(each.path).is_relative_to(it) for it in going)]
    return Left([], [], False, targets) if is_its_host else replace(left, targets=targets)


def _wipe(host: Host) -> None:
    driver, pools = driver_for(host), _pools_of(host)
    for machine_id in set(Claim.objects.filter(account_id=host.pk).values_list("holder_id", flat=True)):
        _remove(driver, machine_id)
    unknown = _unknown_machines(driver, host, pools)
    for domain in unknown:
        _remove(driver, domain.uuid)
    _wipe_volumes(driver, host)
    _wipe_disks(driver, host, pools, {(disk.pool, disk.volume) for domain in unknown for disk in domain.disks})


def _pools_of(host: Host) -> list[str]:
    return [pool.name for pool in host.storage_pools.all()]


def _close(host: Host, left: Left) -> None:
    """Pools and network go, where nothing is left. Another installation may have the same pool, and then it has the
    network of that name as well."""
    driver, pools = driver_for(host), _pools_of(host)
    there = {pool.name for pool in driver.facts().pools if pool.active}
    for pool in set(pools) - set(left.pools):
        if pool in there:
            driver.delete_volume(pool, TOKEN)
        driver.delete_pool(pool)
    if not left.has_network:
        driver.delete_network(host.network_name)
    for target in left.targets:
        driver.delete_pool(target.pool_name)
    driver.close()


def _remove(driver: Driver, machine_id: Any) -> None:
    driver.destroy(machine_id)
    driver.undefine(machine_id)


def _unknown_machines(driver: Driver, host: Host, pools: Iterable[str]) -> list[DomainFacts]:
    """Without a row, and ours for certain: they bear the id of a tenant of ours, and have all their disks in our pools.

    As those that were made since a backup, after that was restored.
    """
    tenants = {str(id) for id in Tenant.objects.unscoped("reset").values_list("pk", flat=True)}
    domains = driver.inventory([], host.network_name).domains
    return [each for each in domains if each.owner in tenants and {disk.pool for disk in each.disks} <= set(pools)]


def _wipe_volumes(driver: Driver, host: Host) -> None:
    """Disks before the images that they stand on; an image on which somebody else's disk stands stays as well."""
    for point in Snapshot.objects.unscoped("reset").select_related("memory_pool"):
        if point.memory_pool and point.memory_pool.host_id == host.pk:
            _delete(driver, point.memory_pool.name, point.memory_volume)
    for layer in Layer.objects.filter(pool__host=host).select_related("pool"):
        driver.end_copy(layer.pk)
        _delete(driver, layer.pool.name, layer.file_name)
    for vm in VM.objects.unscoped("reset").filter(host=host):
        _delete(driver, host.pool_name, vm.seed_volume)


def _delete(driver: Driver, pool: str, volume: str) -> None:
    """No effect where the pool is gone: a reset before this one may have ended half-way."""
    with suppress(NotFound):
        driver.delete_volume(pool, volume)


def _wipe_disks(driver: Driver, host: Host, pools: Iterable[str], disks: set[tuple[str, str]]) -> None:
    """These, what they alone stand on, and images; nothing that others have, or a disk of theirs stands on."""
    used = {disk.volume for domain in driver.inventory([], host.network_name).domains for disk in domain.disks}
    images = {image.file_name for image in Image.objects.unscoped("reset")}
    for pool in (pool.name for pool in driver.facts().pools if pool.active and pool.name in pools):
        driver.refresh_pool(pool)
        wanted = images | {name for place, name in disks if place == pool and names.is_ours(name)}
        while there := {volume.name: volume.backing for volume in driver.list_volumes(pool)}:
            removable = (wanted & there.keys()) - set(there.values()) - used
            if not removable:
                break
            for name in removable:
                driver.delete_volume(pool, name)
            wanted |= {backing for name in removable if (backing := there[name]) and names.is_ours(backing)}


def _what_stays(host: Host) -> Left:
    driver, pools = driver_for(host), _pools_of(host)
    found = driver.inventory(pools, host.network_name)
    guests = [f"domain {each.name} ({each.power})" for each in found.domains if is_ours(each, pools)]
    volumes = {pool: _names_in(found.pools[pool]) for pool in pools}
    in_use = [pool for pool in pools if guests or volumes[pool]]
    unknown = [*guests, *(name for names in volumes.values() for name in names)]
    return Left(unknown, in_use, host.pool_name in in_use, _targets_on(driver))


def _names_in(pool: PoolContents | None) -> list[str]:
    names = [*(volume.name for volume in pool.volumes), *pool.unfinished] if pool else []
    return [name for name in names if name != TOKEN]


def _targets_on(driver: Driver) -> list[BackupTarget]:
    """Those that the host has a pool for, at their path: another installation's may have its name."""
    paths = {pool.name: pool.path for pool in driver.facts().pools}
    return [target for target in BackupTarget.objects.all() if paths.get(target.pool_name) == target.path]
