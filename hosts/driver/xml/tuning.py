"""What a domain gets of its host beside others: https://libvirt.org/formatdomain.html#cpu-tuning and its neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from xml.etree.ElementTree import Element

from hosts.driver.types import Tuning
from hosts.driver.xml.element import child


def vcpu_element(vcpus: int, tuning: Tuning) -> Element:
    element = Element("vcpu", {"placement": "static"})
    if tuning.cpus:
        element.set("cpuset", cpu_list(tuning.cpus))
    element.text = str(vcpus)
    return element


def memory_elements(tuning: Tuning) -> Iterator[Element]:
    """Locked memory is never swapped out; libvirt wants a limit beside it, or a QEMU that leaks would take the host."""
    if tuning.memory_limit_mib is not None:
        limits = Element("memtune")
        child(limits, "hard_limit", str(tuning.memory_limit_mib), unit="MiB")
        yield limits
    if tuning.is_memory_locked or tuning.has_huge_pages:
        backing = Element("memoryBacking")
        if tuning.has_huge_pages:
            child(backing, "hugepages")
        if tuning.is_memory_locked:
            child(backing, "locked")
        yield backing


def share_elements(tuning: Tuning) -> Iterator[Element]:
    if tuning.io_weight is not None:
        disks = Element("blkiotune")
        child(disks, "weight", str(tuning.io_weight))
        yield disks
    cpus = Element("cputune")
    for name in ("shares", "period", "quota"):
        if (value := getattr(tuning, name)) is not None:
            child(cpus, name, str(value))
    for vcpu, cpu in enumerate(tuning.pins):
        child(cpus, "vcpupin", vcpu=str(vcpu), cpuset=str(cpu))
    if len(cpus):
        yield cpus


def cpu_list(cpus: Sequence[int]) -> str:
    """As libvirt writes it: 0-2,5."""
    runs = [
        [cpu for _, cpu in run]
        for _, run in groupby(enumerate(sorted(set(cpus))), key=lambda numbered: numbered[1] - numbered[0])
    ]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
