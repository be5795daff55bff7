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


def copier_xml(job: UUID, pool: str, source: str, description: str) -> str:
    """Its disk is read-only, so others may stand on that volume, and no guest can run on it meanwhile."""
    root = Element("domain", {"type": Accelerator.TCG.value})
    child(root, "name", copier_name(job))
    child(root, "uuid", str(job))
    child(root, "description", description)
    child(root, "memory", str(MEMORY_MIB), unit="MiB")
    child(root, "vcpu", "1")
    child(child(root, "os"), "type", "hvm", arch=EMULATOR_ARCHITECTURE, machine="q35")
    disk = disk_element(DiskSpec(pool, source, TARGET))
    child(disk, "readonly")
    child(root, "devices").append(disk)
    return render(root)


def copy_target_xml(path: str) -> str:
    """The qcow2 file at `path` as the target of a block copy, past the host's page cache."""
    disk = Element("disk", {"type": "file", "device": "disk"})
    child(disk, "driver", name="qemu", type="qcow2", cache="none", discard="unmap")
    child(disk, "source", file=path)
    return render(disk)
