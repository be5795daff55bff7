"""Whether hosts still have the storage that their pools were recognised by; where not, the pool says so.

An inventory tells of each pool whether its token file is there, as often as hosts are read. What the file says is read
again every few minutes: another storage may lie at the path by now. `storage_id` stays what it was, for that is where
the disks are; a pool with an error counts for nobody as a way to them.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from hosts.connections import driver_for
from hosts.driver.errors import DriverError
from hosts.driver.types import PoolContents
from hosts.models import Host, StoragePool
from hosts.models.storage import FILE_KINDS
from hosts.reach import TOKEN
from hosts.workflows.tokens import OTHER, UNMOUNTED, trouble_with
from portal.core.connection import release

READ_SECONDS = 300.0
MOST_AT_ONCE = 16
MISSING = "The host does not have it any more, or it is off."
_OURS = (MISSING, UNMOUNTED, OTHER)
logger = logging.getLogger(__name__)


def take_contents(host_id: UUID, contents: Mapping[str, PoolContents | None]) -> None:
    """What an inventory says of a host's pools. One query, and one for each pool of which it is news."""
    for pool in StoragePool.objects.filter(host=host_id, name__in=list(contents)):
        found = contents[pool.name]
        if found is None:
            _note(pool, MISSING)
        elif pool.storage_id and not any(volume.name == TOKEN for volume in found.volumes):
            _note(pool, UNMOUNTED)
        elif pool.error != OTHER:  # that it is there does not say whose it is
            _note(pool, "")


class TokenRounds:
    """Held by the observer; most of its turns are not due."""

    def __init__(self) -> None:
        self._due_at = 0.0

    def turn(self) -> None:
        """Read the tokens of all hosts that answer, some at once."""
        if time.monotonic() < self._due_at:
            return
        self._due_at = time.monotonic() + READ_SECONDS
        pools: dict[Host, list[StoragePool]] = defaultdict(list)
        rows = StoragePool.objects.filter(kind__in=FILE_KINDS).exclude(storage_id="").select_related("host__access")
        for pool in rows:
            if pool.host.is_reachable and not pool.host.has_failed:
                pools[pool.host].append(pool)
        release()  # they may take their time
        with ThreadPoolExecutor(MOST_AT_ONCE) as threads:
            for told in threads.map(_read, pools, pools.values()):
                for pool, error in told:
                    _note(pool, error)


def _read(host: Host, pools: Sequence[StoragePool]) -> list[tuple[StoragePool, str]]:
    """What is wrong with each, "" for nothing; without those of which the host did not tell."""
    told = []
    for pool in pools:
        try:
            told.append((pool, trouble_with(driver_for(host), pool)))
        except DriverError as error:
            logger.warning("token of %s on %s: %s", pool.name, host.name, error)
    return told


def _note(pool: StoragePool, error: str) -> None:
    """Leaves alone what somebody else says of it, as that it is being removed."""
    if error != pool.error and (not pool.error or pool.error in _OURS):
        StoragePool.objects.filter(pk=pool.pk, error=pool.error).update(error=error)
