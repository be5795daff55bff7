"""One driver per process and host, opened on first use and so after the fork; steps get it behind their fence.

Calls that change something, fail or take long leave a line in the log, with the ids of the request they belong to.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast
from uuid import UUID

import structlog

from hosts.access_files import connection_uri
from hosts.driver import open_driver
from hosts.driver.base import Driver
from hosts.driver.errors import DriverError, HostFailed
from hosts.models import Host

READING = frozenset(
    {
        "arrival",
        "checkpoints",
        "facts",
        "inventory",
        "leases",
        "list_domains",
        "list_volumes",
        "refresh_pool",
        "state",
        "stats",
        "volume",
        "wait_for",
    }
)
SLOW_SECONDS = 1.0
_drivers: dict[tuple[int, str], tuple[UUID | None, Driver]] = {}
_lock = threading.Lock()
log = structlog.get_logger(__name__)


def driver_for(host: Host) -> Driver:
    """Another one once the host has another key: what goes on over the old connection fails, and is tried again."""
    key = (os.getpid(), host.uri)
    with _lock:
        access_id, driver = _drivers.get(key, (None, None))
        if driver is None or access_id != host.access_id:
            opened = cast(Driver, _Logged(host.name, open_driver(connection_uri(host))))
            _drivers[key] = (host.access_id, opened)
            if driver is not None:
                driver.close()
            return opened
        return driver


def fenced_driver(host: Host, check: Callable[[], None]) -> Driver:
    """The host's driver for a step: `check` runs before each call, and raises where the step's worker is fenced off.

    Nothing is asked of a host that has failed: what was there runs elsewhere by now, or waits for it to come back.
    """

    def check_both() -> None:
        check()
        if host.has_failed:
            raise HostFailed(f"{host.name} was fenced off")

    return cast(Driver, _Fenced(host, check_both))


def returning_driver(host: Host, check: Callable[[], None]) -> Driver:
    """The same, for clearing a host that has failed and is back."""
    return cast(Driver, _Fenced(host, check))


class _Fenced:
    def __init__(self, host: Host, check: Callable[[], None]) -> None:
        self._host = host
        self._check = check

    def __getattr__(self, name: str) -> Any:
        self._check()
        return getattr(driver_for(self._host), name)


class _Logged:
    def __init__(self, host_name: str, driver: Driver) -> None:
        self._host_name = host_name
        self._driver = driver

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._driver, name)
        return partial(_logged, self._host_name, name, found) if callable(found) else found


def _logged(host: str, name: str, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    begun, outcome = time.monotonic(), "internal_error"
    try:
        result = call(*args, **options)
        outcome = "ok"
        return result
    except DriverError as error:
        outcome = error.code
        raise
    finally:
        seconds = round(time.monotonic() - begun, 3)
        if name not in READING or outcome != "ok" or seconds > SLOW_SECONDS:
            log.info("host call", host=host, call=name, seconds=seconds, outcome=outcome)
