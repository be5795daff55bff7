"""For `./run reset`: remove from all hosts what belongs to this installation, and nothing else."""

from __future__ import annotations

import logging
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hosts.connections import driver_for
from hosts.driver.base import Driver
from hosts.driver.errors import DriverError
from hosts.models import Host
from portal.quotas.models import Claim
from vms.models import VM, Image, Layer


class Command(BaseCommand):
    help = "Delete all machines, volumes, the pool and the network of this installation from its hosts."

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
        for name in left:
            self.stdout.write(f"{host.name}: {name} stays, for this installation does not know it")
        if left:
            self.stdout.write(f"{host.name}: pool {host.pool_name} and network {host.network_name} stay with it")


def _wipe(host: Host) -> list[str]:
    """What stays: another installation may have the same pool, and then it has the network of that name as well."""
    driver = driver_for(host)
    for machine_id in set(Claim.objects.filter(account_id=host.pk).values_list("holder_id", flat=True)):
        driver.destroy(machine_id)
        driver.undefine(machine_id)
    left = _wipe_volumes(driver, host)
    if not left:
        driver.delete_pool(host.pool_name)
        driver.delete_network(host.network_name)
    driver.close()
    return left


def _wipe_volumes(driver: Driver, host: Host) -> list[str]:
    """Disks before the images that they stand on; an image on which somebody else's disk stands stays as well."""
    for layer in Layer.objects.filter(pool__host=host).select_related("pool"):
        driver.end_copy(layer.pk)
        driver.delete_volume(layer.pool.name, layer.file_name)
    for vm in VM.objects.unscoped("reset").filter(host=host):
        driver.delete_volume(host.pool_name, vm.seed_volume)
    backing = {volume.backing for volume in driver.list_volumes(host.pool_name)}
    for image in Image.objects.unscoped("reset"):
        if image.file_name not in backing:
            driver.delete_volume(host.pool_name, image.file_name)
    return [volume.name for volume in driver.list_volumes(host.pool_name)]
