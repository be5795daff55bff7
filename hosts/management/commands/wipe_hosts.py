"""For `./run reset`: remove from all hosts what belongs to this installation."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from hosts.connections import driver_for
from hosts.driver.errors import DriverError
from hosts.models import Host


class Command(BaseCommand):
    help = "Delete all machines, volumes, the pool and the network of this installation from its hosts."

    def handle(self, *args: Any, **options: Any) -> None:
        for host in Host.objects.all():
            try:
                driver_for(host).wipe(settings.INSTANCE, host.pool_name, host.network_name)
            except DriverError as error:
                self.stderr.write(f"{host.name}: {error}")
