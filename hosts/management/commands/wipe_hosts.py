"""For `./run reset`: remove from all hosts what belongs to this installation."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hosts.connections import driver_for
from hosts.driver.errors import DriverError
from hosts.models import Host
from portal.quotas.models import Claim


class Command(BaseCommand):
    help = "Delete all machines, volumes, the pool and the network of this installation from its hosts."

    def handle(self, *args: Any, **options: Any) -> None:
        failures = []
        for host in Host.objects.all():
            try:
                _wipe(host)
            except DriverError as error:
                failures.append(f"{host.name}: {error}")
        if failures:
            raise CommandError("; ".join(failures))


def _wipe(host: Host) -> None:
    """Only machines that hold a claim here, by their ids: another installation's on the same host are not touched."""
    driver = driver_for(host)
    for machine_id in set(Claim.objects.filter(account_id=host.pk).values_list("holder_id", flat=True)):
        driver.destroy(machine_id)
        driver.undefine(machine_id)
    for volume in driver.list_volumes(host.pool_name):
        driver.delete_volume(host.pool_name, volume.name)
    driver.delete_pool(host.pool_name)
    driver.delete_network(host.network_name)
    driver.close()
