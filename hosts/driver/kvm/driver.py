"""The libvirt driver: one class of small groups of calls."""

from __future__ import annotations

from hosts.driver.kvm.absorb import AbsorbCalls
from hosts.driver.kvm.backup import BackupCalls
from hosts.driver.kvm.disks import DiskCalls
from hosts.driver.kvm.domains import DomainCalls
from hosts.driver.kvm.events import EventCalls
from hosts.driver.kvm.host import HostCalls
from hosts.driver.kvm.inventory import InventoryCalls
from hosts.driver.kvm.layers import LayerCalls
from hosts.driver.kvm.merge import MergeCalls
from hosts.driver.kvm.migrate import MigrationCalls
from hosts.driver.kvm.move import MoveCalls
from hosts.driver.kvm.networks import NetworkCalls
from hosts.driver.kvm.probe import ProbeCalls
from hosts.driver.kvm.stats import StatsCalls
from hosts.driver.kvm.storage import StorageCalls
from hosts.driver.kvm.streams import StreamCalls


class KvmDriver(
    ProbeCalls,
    HostCalls,
    StorageCalls,
    LayerCalls,
    MergeCalls,
    NetworkCalls,
    DomainCalls,
    DiskCalls,
    MoveCalls,
    MigrationCalls,
    AbsorbCalls,
    BackupCalls,
    InventoryCalls,
    StatsCalls,
    StreamCalls,
    EventCalls,
):
    """`hosts.driver.base.Driver` for a libvirt URI of the QEMU driver, e.g. "qemu:///system".

    Connects on the first call, so that it may be made before a fork, and again after a break. RuntimeError in the child
    of a process that had connected already; the parent's connections are not touched by it.
    """
