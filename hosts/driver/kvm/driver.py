"""The libvirt driver: one class of small groups of calls."""

from __future__ import annotations

from hosts.driver.kvm.domains import DomainCalls
from hosts.driver.kvm.events import EventCalls
from hosts.driver.kvm.host import HostCalls
from hosts.driver.kvm.networks import NetworkCalls
from hosts.driver.kvm.probe import ProbeCalls
from hosts.driver.kvm.storage import StorageCalls
from hosts.driver.kvm.streams import StreamCalls


class KvmDriver(ProbeCalls, HostCalls, StorageCalls, NetworkCalls, DomainCalls, StreamCalls, EventCalls):
    """`hosts.driver.base.Driver` for a libvirt URI of the QEMU driver, e.g. "qemu:///system".

    Connects on the first call and again after a break. A process that forks may go on using its drivers on both sides;
    connections of the parent are not touched by the child.
    """
