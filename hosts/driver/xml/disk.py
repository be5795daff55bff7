"""Disks and CD-ROMs, always volumes of a pool: https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from hosts.driver.types import NO_LIMITS, CdromSpec, DiskLimits, DiskSpec
from hosts.driver.xml.element import child


def disk_element(spec: DiskSpec) -> Element:
    """A virtio disk past the host's page cache, so that a flush in the guest is a flush; it gives back freed space."""
    disk = Element("disk", {"type": "volume", "device": "disk"})
    child(disk, "driver", name="qemu", type=spec.format, cache="none", discard="unmap")
    child(disk, "source", pool=spec.pool, volume=spec.volume)
    child(disk, "target", dev=spec.target, bus="virtio")
    if spec.limits != NO_LIMITS:
        tuning = child(disk, "iotune")
        for name, most in limits_by_name(spec.limits).items():
            if most:
                child(tuning, name, str(most))
    if spec.serial:
        child(disk, "serial", spec.serial)
    return disk


def limits_by_name(limits: DiskLimits) -> dict[str, int]:
    """As libvirt names them, in the order of its schema; 0 is no limit."""
    return {
        "read_bytes_sec": limits.read_bytes or 0,
        "write_bytes_sec": limits.write_bytes or 0,
        "read_iops_sec": limits.read_iops or 0,
        "write_iops_sec": limits.write_iops or 0,
    }


def cdrom_element(spec: CdromSpec) -> Element:
    """On virtio-scsi: the kernels of cloud images come without drivers for SATA."""
    cdrom = Element("disk", {"type": "volume", "device": "cdrom"})
    child(cdrom, "driver", name="qemu", type=spec.format)
    child(cdrom, "source", pool=spec.pool, volume=spec.volume)
    child(cdrom, "target", dev=spec.target, bus="scsi")
    child(cdrom, "readonly")
    return cdrom
