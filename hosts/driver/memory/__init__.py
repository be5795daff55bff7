"""A host in memory, for tests that are about something else than the hypervisor.

It keeps what `Driver` promises and no more: guests obey at once and write nothing, a serial port echoes. Drivers with
one URI in a process see one host; tests/driver holds it to the same suite as the real one.
"""

from hosts.driver.memory.driver import MemoryDriver
from hosts.driver.memory.state import MemoryHost, host, reset

__all__ = ["MemoryDriver", "MemoryHost", "host", "reset"]
