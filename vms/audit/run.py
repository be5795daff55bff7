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
from vms.audit import books, compare, images, rows
from vms.audit.findings import Finding, Kind

MOST_AT_ONCE = 16
logger = logging.getLogger(__name__)


Readings = Mapping[UUID, Inventory | str]


def audit() -> list[Finding]:
    """All that is wrong now. A host that cannot be read is a finding, and nothing is said of what it has.

    Guests of somebody else's on a host are nothing wrong, and neither is what a host has that has failed.
    """
    before = rows.note()
    readings = read([host for host in Host.objects.all() if not host.has_failed])
    found = rows.load(before)
    told = [*books.findings(found), *images.findings()]
    for host in found.hosts:
        if host.has_failed:
            continue
        told += _of(host, readings.get(host.id, "it was added a moment ago"), found)
    return told


def read(hosts: Sequence[Host]) -> Readings:
    """All hosts at once: what each has, or why it could not be read."""
    pools = rows.pools_of(hosts)
    release()  # they may take their time
    with ThreadPoolExecutor(MOST_AT_ONCE) as threads:
        readings = threads.map(_read, hosts, [pools[host.pk] for host in hosts])
        return dict(zip((host.pk for host in hosts), readings, strict=True))


def _of(host: rows.HostRow, reading: Inventory | str, found: rows.Rows) -> list[Finding]:
    if isinstance(reading, str):
        return [Finding(Kind.HOST_UNREAD, host.name, host.name, reading, host.id)]
    try:
        told = list(compare.findings(host, reading, found))
    except Exception as error:  # what one host answers must not hide the others
        logger.exception("comparing %s", host.name)
        return _of(host, _not_understood(error), found)
    return [finding for finding in told if finding.kind != Kind.FOREIGN_DOMAIN]


def _read(host: Host, pools: Sequence[str]) -> Inventory | str:
    """The inventory, or why there is none."""
    try:
        return driver_for(host).inventory(pools, host.network_name)
    except DriverError as error:
        return str(error)
    except Exception as error:  # what one host answers must not hide the others
        logger.exception("reading %s", host.name)
        return _not_understood(error)


def _not_understood(error: Exception) -> str:
    return f"its answer was not understood: {error}"
