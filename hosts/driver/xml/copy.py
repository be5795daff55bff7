"""The domain that copies a volume: a QEMU that is never let run, for its block jobs alone."""

from __future__ import annotations

from uuid import UUID
from xml.etree.ElementTree import Element

from hosts.driver.types import Accelerator, DiskSpec
from hosts.driver.xml.disk import disk_element
from hosts.driver.xml.domain import EMULATOR_ARCHITECTURE
from hosts.driver.xml.element import child, render

MEMORY_MIB = 16
TARGET = "vda"


def copier_name(job: UUID) -> str:
    return f"berth-copy-{job}"


def absorber_name(job: UUID) -> str:
    return f"berth-absorb-{job}"


def copier_xml(job: UUID, pool: str, source: str, description: str) -> str:
    """Its disk is read-only, so others may stand on that volume, and no guest can run on it meanwhile."""
    disk = disk_element(DiskSpec(pool, source, TARGET))
    child(disk, "readonly")
    return still_domain(copier_name(job), job, description, disk)


def absorber_xml(job: UUID, pool: str, volume: str) -> str:
    """Its disk is written to: no other may stand on what it absorbs, and no guest can run on it meanwhile."""
    return still_domain(absorber_name(job), job, "", disk_element(DiskSpec(pool, volume, TARGET)))


def still_domain(name: str, job: UUID, description: str, disk: Element) -> str:
    """A QEMU that is never let run, for the block jobs of its one disk."""
    root = Element("domain", {"type": Accelerator.TCG.value})
    child(root, "name", name)
    child(root, "uuid", str(job))
    if description:
        child(root, "description", description)
    child(root, "memory", str(MEMORY_MIB), unit="MiB")
    child(root, "vcpu", "1")
    child(child(root, "os"), "type", "hvm", arch=EMULATOR_ARCHITECTURE, machine="q35")
    child(root, "devices").append(disk)
    return render(root)


def copy_target_xml(path: str) -> str:
    """The qcow2 file at `path` as the target of a block copy, past the host's page cache."""
    disk = Element("disk", {"type": "file", "device": "disk"})
    child(disk, "driver", name="qemu", type="qcow2", cache="none", discard="unmap")
    child(disk, "source", file=path)
    return render(disk)
