"""The whole audit: read every host at once, then the rows, then compare."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from hosts.connections import driver_for
from hosts.driver.errors import DriverError
from hosts.driver.types import Inventory
from hosts.models import Host
from portal.core.connection import release
from vms.audit import books, compare, rows
from vms.audit.findings import Finding, Kind

MOST_AT_ONCE = 16
logger = logging.getLogger(__name__)


Readings = Mapping[UUID, Inventory | str]


def audit() -> list[Finding]:
    """All that is wrong now. A host that cannot be read is a finding, and nothing is said of what it has.

    Guests of somebody else's on a host are nothing wrong.
    """
    before = rows.note()
    readings = read(list(Host.objects.all()))
    found = rows.load(before)
    unread = [_unread(host, readings.get(host.id)) for host in found.hosts]
    told = [finding for finding in compare_all(found, readings) if finding.kind != Kind.FOREIGN_DOMAIN]
    return [*filter(None, unread), *told]


def read(hosts: Sequence[Host]) -> Readings:
    """All hosts at once: what each has, or why it could not be read."""
    release()  # they may take their time
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        return dict(zip((host.pk for host in hosts), pool.map(_read, hosts), strict=True))


def compare_all(found: rows.Rows, readings: Readings) -> list[Finding]:
    """The books, and each host that could be read."""
    inventories = {id: reading for id, reading in readings.items() if isinstance(reading, Inventory)}
    result = list(books.findings(found))
    for host in found.hosts:
        if host.id in inventories:
            result += compare.findings(host, inventories[host.id], found)
    return result + list(compare.duplicates(inventories, found))


def _unread(host: rows.HostRow, reading: Inventory | str | None) -> Finding | None:
    if isinstance(reading, Inventory):
        return None
    return Finding(Kind.HOST_UNREAD, host.name, host.name, reading or "it was added a moment ago", host.id)


def _read(host: Host) -> Inventory | str:
    """The inventory, or why there is none."""
    try:
        return driver_for(host).inventory(host.pool_name, host.network_name)
    except DriverError as error:
        return str(error)
    except Exception as error:  # what one host answers must not hide the others
        logger.exception("reading %s", host.name)
        return f"its answer was not understood: {error}"
