"""Layers of disks: points in time, and the domain that merges two of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID
from xml.etree.ElementTree import Element

from hosts.driver.types import DiskSpec
from hosts.driver.xml.copy import TARGET, still_domain
from hosts.driver.xml.disk import disk_element
from hosts.driver.xml.element import child, render


@dataclass(frozen=True, slots=True)
class Overlay:
    """An empty qcow2 file, or a device, that a disk of a running domain is to write to from now on."""

    target: str
    path: str
    is_device: bool


def snapshot_xml(overlays: Sequence[Overlay], others: Iterable[str], memory_path: str | None) -> str:
    """https://libvirt.org/formatsnapshot.html. `others` are the targets of the disks that stay as they are."""
    root = Element("domainsnapshot")
    if memory_path is None:
        child(root, "memory", snapshot="no")
    else:
        child(root, "memory", snapshot="external", file=memory_path)
    disks = child(root, "disks")
    for overlay in overlays:
        kind, attribute = ("block", "dev") if overlay.is_device else ("file", "file")
        disk = child(disks, "disk", name=overlay.target, snapshot="external", type=kind)
        child(disk, "driver", type="qcow2")
        child(disk, "source", **{attribute: overlay.path})
    for target in others:
        child(disks, "disk", name=target, snapshot="no")
    return render(root)


def merger_name(job: UUID) -> str:
    return f"berth-merge-{job}"


def merger_xml(job: UUID, pool: str, top: str) -> str:
    """Its disk is the top of the chain in which two layers are merged; no guest can run on it meanwhile."""
    return still_domain(merger_name(job), job, "", disk_element(DiskSpec(pool, top, TARGET)))
