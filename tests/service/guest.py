"""The inside of a tiny guest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from hosts.driver import open_driver
from tests.console import Console


@contextmanager
def root_console(libvirt_uri: str, vm_id: str) -> Iterator[Console]:
    """Root at the serial console of a machine that runs on that host."""
    driver = open_driver(libvirt_uri)
    try:
        with driver.open_serial(UUID(vm_id)) as connection:
            console = Console(connection)
            console.become_root()
            yield console
            console.log_out()
    finally:
        driver.close()
