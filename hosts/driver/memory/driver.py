"""The driver in memory: one class of small groups of calls."""

from __future__ import annotations

from hosts.driver.memory.backups import BackupCalls
from hosts.driver.memory.disks import DiskCalls
from hosts.driver.memory.domains import DomainCalls
from hosts.driver.memory.host import HostCalls
from hosts.driver.memory.inventory import InventoryCalls
from hosts.driver.memory.layers import LayerCalls
from hosts.driver.memory.migrations import MigrationCalls
from hosts.driver.memory.networks import NetworkCalls
from hosts.driver.memory.stats import StatsCalls
from hosts.driver.memory.streams import StreamCalls
from hosts.driver.memory.volumes import VolumeCalls


class MemoryDriver(
    BackupCalls,
    HostCalls,
    VolumeCalls,
    LayerCalls,
    NetworkCalls,
    DomainCalls,
    DiskCalls,
    MigrationCalls,
    InventoryCalls,
    StatsCalls,
    StreamCalls,
):
    """`hosts.driver.base.Driver` over a `MemoryHost`."""
