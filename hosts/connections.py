"""One driver per process and host, opened on first use and so after the fork."""

from __future__ import annotations

import os
import threading

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
