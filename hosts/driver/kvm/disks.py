"""Disks of a domain that runs. What the next start takes is `define`'s alone, so none of these calls touches it."""

from __future__ import annotations

import time
from uuid import UUID
from xml.etree.ElementTree import Element, fromstring

import libvirt

from hosts.driver import errors
from hosts.driver.kvm.connection import Calls
from hosts.driver.kvm.domains import lookup
from hosts.driver.types import DiskLimits, DiskSpec
from hosts.driver.xml.disk import disk_element, limits_by_name
from hosts.driver.xml.element import render

DISK_SECONDS = 30.0
LET_GO_SECONDS = 4.0  # a guest that listens does it in well under one
POLL_SECONDS = 0.1
_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
# What QEMU and libvirt say while the guest still thinks about an earlier request.
_ASKED_ALREADY = ("already in the process of unplug", "is in the process of unplug")


class DiskCalls(Calls):
    def attach_disk(self, uuid: UUID, disk: DiskSpec) -> None:
        self._connection.call(lambda connect: _attach(connect, uuid, disk), seconds=DISK_SECONDS)

    def detach_disk(self, uuid: UUID, disk: DiskSpec) -> bool:
        return self._connection.call(lambda connect: _detach(connect, uuid, disk), seconds=DISK_SECONDS)

    def grow_disk(self, uuid: UUID, disk: DiskSpec, capacity_bytes: int) -> None:
        self._connection.call(lambda connect: _grow(connect, uuid, disk, capacity_bytes), seconds=DISK_SECONDS)

    def limit_disk(self, uuid: UUID, target: str, limits: DiskLimits) -> None:
        self._connection.call(lambda connect: _limit(lookup(connect, uuid), target, limits), seconds=DISK_SECONDS)


def live_disk(domain: libvirt.virDomain, target: str) -> Element | None:
    """The disk as the guest has it now; None where it has none there, or is off."""
    try:
        root = fromstring(domain.XMLDesc()) if domain.isActive() else Element("domain")  # noqa: S314  libvirt's own
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise
    return root.find(f"devices/disk/target[@dev='{target}']/..")


def volume_of(connect: libvirt.virConnect, source: Element | None) -> tuple[str, str]:
    """Pool and volume of a disk's source; after a block job QEMU and libvirt know the file only. "" for no volume."""
    if source is None:
        return "", ""
    if "volume" in source.attrib:
        return source.get("pool", ""), source.get("volume", "")
    try:
        volume = connect.storageVolLookupByPath(source.get("file") or source.get("dev") or "")
        return str(volume.storagePoolLookupByVolume().name()), str(volume.name())
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL:
            return "", ""
        raise


def has(connect: libvirt.virConnect, found: Element | None, disk: DiskSpec) -> bool:
    """Whether what was found is that volume."""
    return found is not None and volume_of(connect, found.find("source")) == (disk.pool, disk.volume)


def _attach(connect: libvirt.virConnect, uuid: UUID, disk: DiskSpec) -> None:
    domain = lookup(connect, uuid)
    if not domain.isActive():
        return
    there = live_disk(domain, disk.target)
    if has(connect, there, disk):
        return
    if there is not None:
        raise errors.AlreadyExists(f"domain {uuid} has another disk as {disk.target}")
    try:
        domain.attachDeviceFlags(render(disk_element(disk)), _LIVE)
    except libvirt.libvirtError:
        if domain.isActive():
            raise


def _detach(connect: libvirt.virConnect, uuid: UUID, disk: DiskSpec) -> bool:
    domain = lookup(connect, uuid)
    there = live_disk(domain, disk.target)
    if there is None or not has(connect, there, disk):
        return True
    alias = there.find("alias")
    _ask(domain, "" if alias is None else alias.get("name", ""))
    until = time.monotonic() + LET_GO_SECONDS
    while has(connect, live_disk(domain, disk.target), disk):
        if time.monotonic() > until:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _ask(domain: libvirt.virDomain, alias: str) -> None:
    """The answer is the guest's, and comes when it does: libvirt then takes the disk out of what runs."""
    try:
        domain.detachDeviceAlias(alias, _LIVE)
    except libvirt.libvirtError as error:
        is_gone = error.get_error_code() in (libvirt.VIR_ERR_DEVICE_MISSING, libvirt.VIR_ERR_OPERATION_INVALID)
        if not is_gone and not any(words in str(error) for words in _ASKED_ALREADY):
            raise


def _grow(connect: libvirt.virConnect, uuid: UUID, disk: DiskSpec, capacity_bytes: int) -> None:
    domain = lookup(connect, uuid)
    if not has(connect, live_disk(domain, disk.target), disk):
        raise errors.InvalidState(f"{disk.volume} is no disk of a running domain {uuid}")
    if domain.blockInfo(disk.target)[0] < capacity_bytes:
        domain.blockResize(disk.target, capacity_bytes, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)


def _limit(domain: libvirt.virDomain, target: str, limits: DiskLimits) -> None:
    if live_disk(domain, target) is not None:
        domain.setBlockIoTune(target, limits_by_name(limits), _LIVE)
