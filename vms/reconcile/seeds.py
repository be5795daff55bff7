"""Seeds that stayed on a host when their machine left it: what its owner entrusted to it is not left lying about."""

from __future__ import annotations

import logging

from hosts.connections import driver_for
from hosts.driver.types import Inventory
from hosts.models import Host
from portal.operations.selectors import active_on_each
from vms.audit import names
from vms.audit.rows import HostRow, Rows

logger = logging.getLogger(__name__)


def remove_strays(host: HostRow, inventory: Inventory, rows: Rows) -> None:
    """Not of a machine that is still defined here, nor of one that may be on its way here since the rows were read."""
    defined = {domain.uuid for domain in inventory.domains}
    found = [
        (pool, volume.name, id)
        for pool, contents in inventory.pools.items()
        for volume in (contents.volumes if contents else ())
        if (id := names.machine_of_seed(volume.name)) is not None
        and id not in defined
        and rows.is_stray(host.id, pool, volume.name)
    ]
    moving = active_on_each(id for _, _, id in found) if found else {}
    for pool, name, id in found:
        if id not in moving:
            logger.info("removing %s from %s: its machine is on another host", name, host.name)
            driver_for(Host.objects.get(pk=host.id)).delete_volume(pool, name)
