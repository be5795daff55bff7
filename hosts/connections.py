"""One driver per process and host, opened on first use and so after the fork; steps get it behind their fence."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, cast

from hosts.driver import open_driver
from hosts.driver.base import Driver
from hosts.models import Host

_drivers: dict[tuple[int, str], Driver] = {}
_lock = threading.Lock()


def driver_for(host: Host) -> Driver:
    key = (os.getpid(), host.uri)
    with _lock:
        if key not in _drivers:
            _drivers[key] = open_driver(host.uri)
        return _drivers[key]


def fenced_driver(host: Host, check: Callable[[], None]) -> Driver:
    """The host's driver for a step: `check` runs before each call, and raises where the step's worker is fenced off."""
    return cast(Driver, _Fenced(driver_for(host), check))


class _Fenced:
    def __init__(self, driver: Driver, check: Callable[[], None]) -> None:
        self._driver = driver
        self._check = check

    def __getattr__(self, name: str) -> Any:
        self._check()
        return getattr(self._driver, name)
