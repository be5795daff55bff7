"""Domains that copy or merge disks, and that no operation has any more: they would keep guests from them for ever.

A call that was slow on its way to the host makes one after its operation has ended, and so does a database that was
brought back. Ending one costs nothing that anybody waits for: a copy that is wanted begins anew.
"""

from __future__ import annotations

import logging

from hosts.connections import driver_for
from hosts.driver.types import Inventory
from hosts.models import Host
from portal.operations.selectors import active_on_each
from vms.audit import names
from vms.audit.compare import is_helper
from vms.audit.rows import HostRow, Rows

logger = logging.getLogger(__name__)


def end_left(host: HostRow, inventory: Inventory, rows: Rows) -> None:
    """An operation has its helpers by what it works on or holds: the id of a layer is that of its helper."""
    helpers = [each for each in inventory.domains if names.is_helper(each.name) and is_helper(each, host.pools)]
    left = {helper.uuid for helper in helpers} - rows.busy
    for uuid in left - active_on_each(left).keys() if left else ():
        logger.warning("ending the helper %s on %s: no operation has it", uuid, host.name)
        driver_for(Host.objects.get(pk=host.id)).end_copy(uuid)
