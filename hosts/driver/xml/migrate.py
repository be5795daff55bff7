"""A domain as it is to go on at another host: what runs, with the sources and the shares that it has there."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

from hosts.driver.types import DomainSpec
from hosts.driver.xml.domain import domain_xml
from hosts.driver.xml.element import render

# What the other host decides, and no guest sees.
_THEIRS = ("title", "metadata", "vcpu", "cputune", "blkiotune", "memtune")


def destination_xml(running: str, spec: DomainSpec) -> str:
    """`running` is what libvirt calls the migratable definition. All that the guest sees stays as it is."""
    root, wanted = fromstring(running), fromstring(domain_xml(spec))  # noqa: S314  libvirt's and our own
    for tag in _THEIRS:
        _replace(root, wanted, tag)
    for disk in root.iterfind("devices/disk"):
        _move(disk, _with_target(wanted, disk))
    for interface, theirs in zip(root.iterfind("devices/interface"), wanted.iterfind("devices/interface"), strict=True):
        _take_source(interface, theirs)
    return render(root)


def _replace(root: Element, wanted: Element, tag: str) -> None:
    for old in root.findall(tag):
        root.remove(old)
    root.extend(wanted.findall(tag))  # libvirt takes them in any order


def _with_target(wanted: Element, disk: Element) -> Element:
    (target,) = disk.findall("target")
    found = wanted.find(f"devices/disk/target[@dev='{target.get('dev')}']/..")
    if found is None:
        raise ValueError(f"the definition has no disk {target.get('dev')}")
    return found


def _move(disk: Element, theirs: Element) -> None:
    """libvirt looks by itself what the volume stands on there; a file that a block job has left is a volume again."""
    disk.set("type", "volume")
    for below in disk.findall("backingStore"):
        disk.remove(below)
    _take_source(disk, theirs)


def _take_source(device: Element, theirs: Element) -> None:
    source, wanted = device.find("source"), theirs.find("source")
    if source is not None and wanted is not None:
        source.attrib.clear()
        source.attrib.update(wanted.attrib)
        for part in list(source):
            source.remove(part)
