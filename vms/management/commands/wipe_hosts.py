"""For `./run reset`: remove from all hosts what belongs to this installation, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hosts.connections import driver_for
from hosts.driver.base import Driver
from hosts.driver.errors import DriverError
from hosts.driver.types import DomainFacts
from hosts.models import Host
from portal.quotas.models import Claim
from portal.tenancy.models import Tenant
from vms.audit import names
from vms.audit.compare import is_ours
from vms.models import VM, Image, Layer


class Command(BaseCommand):
    help = "Delete machines, volumes, pool and network of this installation from its hosts, and print what stays."

    def handle(self, *args: Any, **options: Any) -> None:
        logging.getLogger("hosts.connections").setLevel(logging.WARNING)  # whoever asked for it reads along
        failures = []
        for host in Host.objects.all():
            try:
                self._tell(host, _wipe(host))
            except DriverError as error:
                failures.append(f"{host.name}: {error}")
        if failures:
            raise CommandError("; ".join(failures))

    def _tell(self, host: Host, left: list[str]) -> None:
        for words in left:
            self.stdout.write(f"{host.name}: {words} stays, for this installation does not know it")
        if left:
            self.stdout.write(f"{host.name}: pool {host.pool_name} and network {host.network_name} stay with it")


def _wipe(host: Host) -> list[str]:
    """What stays: another installation may have the same pool, and then it has the network of that name as well."""
    driver, pools = driver_for(host), [pool.name for pool in host.storage_pools.all()]
    for machine_id in set(Claim.objects.filter(account_id=host.pk).values_list("holder_id", flat=True)):
        _remove(driver, machine_id)
    unknown = _unknown_machines(driver, host, pools)
    for domain in unknown:
        _remove(driver, domain.uuid)
    _wipe_volumes(driver, host)
    _wipe_disks(driver, host, pools, {(disk.pool, disk.volume) for domain in unknown for disk in domain.disks})
    left = _what_stays(driver, host, pools)
    if not left:
        driver.delete_pool(host.pool_name)
        driver.delete_network(host.network_name)
    driver.close()
    return left


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
    for layer in Layer.objects.filter(pool__host=host).select_related("pool"):
        driver.end_copy(layer.pk)
        driver.delete_volume(layer.pool.name, layer.file_name)
    for vm in VM.objects.unscoped("reset").filter(host=host):
        driver.delete_volume(host.pool_name, vm.seed_volume)


def _wipe_disks(driver: Driver, host: Host, pools: Iterable[str], disks: set[tuple[str, str]]) -> None:
    """These, what they alone stand on, and images; nothing that others have, or a disk of theirs stands on."""
    used = {disk.volume for domain in driver.inventory([], host.network_name).domains for disk in domain.disks}
    images = {image.file_name for image in Image.objects.unscoped("reset")}
    for pool in (pool.name for pool in driver.facts().pools if pool.active and pool.name in pools):
        wanted = images | {name for place, name in disks if place == pool and names.is_ours(name)}
        while there := {volume.name: volume.backing for volume in driver.list_volumes(pool)}:
            removable = (wanted & there.keys()) - set(there.values()) - used
            if not removable:
                break
            for name in removable:
                driver.delete_volume(pool, name)
            wanted |= {backing for name in removable if (backing := there[name]) and names.is_ours(backing)}


def _what_stays(driver: Driver, host: Host, pools: Iterable[str]) -> list[str]:
    domains = driver.inventory([], host.network_name).domains
    guests = [f"domain {each.name} ({each.power})" for each in domains if is_ours(each, list(pools))]
    return [*guests, *(volume.name for volume in driver.list_volumes(host.pool_name))]
