"""The hypervisor's edge: a Protocol in the domain's words, and its two implementations. No Django below this line."""

from __future__ import annotations

from hosts.driver.base import Driver


def open_driver(uri: str) -> Driver:
    """The driver for a host's URI; nothing is connected before the first call. `memory://name` is a host in memory."""
    if uri.startswith("memory://"):
        from hosts.driver.memory import MemoryDriver

        return MemoryDriver(uri)
    from hosts.driver.kvm.driver import KvmDriver  # libvirt is loaded only where a real host is meant

    return KvmDriver(uri)
