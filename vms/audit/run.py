"""The whole audit: read every host at once, then the rows, then compare."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hosts.connections import driver_for
from hosts.driver.errors import DriverError
from hosts.driver.types import Inventory
from hosts.models import Host
from vms.audit import books, compare, rows
from vms.audit.findings import Finding, Kind

MOST_AT_ONCE = 16


def audit() -> list[Finding]:
    """All that is wrong now. A host that cannot be read is a finding, and nothing is said of what it has.

    Guests of somebody else's on a host are nothing wrong.
    """
    before, hosts = rows.note(), list(Host.objects.all())
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        readings = dict(zip((host.pk for host in hosts), pool.map(_read, hosts), strict=True))
    found = rows.load(before)
    inventories = {id: reading for id, reading in readings.items() if isinstance(reading, Inventory)}
    result = list(books.findings(found))
    for host in found.hosts:
        reading = readings.get(host.id)
        if isinstance(reading, Inventory):
            result += [each for each in compare.findings(host, reading, found) if each.kind != Kind.FOREIGN_DOMAIN]
        else:
            words = reading or "it was added a moment ago"
            result.append(Finding(Kind.HOST_UNREAD, host.name, host.name, words, host.id))
    return result + list(compare.duplicates(inventories, found))


def _read(host: Host) -> Inventory | str:
    """The inventory, or why there is none."""
    try:
        return driver_for(host).inventory(host.pool_name, host.network_name)
    except DriverError as error:
        return str(error)
