"""Volumes: https://libvirt.org/formatstorage.html"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from hosts.driver.xml.element import child, render

QCOW2_COMPAT = "1.1"  # libvirt makes version 2 by itself, which has no place for dirty bitmaps


def volume_xml(name: str, fmt: str, capacity_bytes: int, backing_path: str | None = None) -> str:
    """An empty volume that takes no space yet, or a qcow2 overlay where `backing_path` names a qcow2 volume's path."""
    root = Element("volume")
    child(root, "name", name)
    child(root, "capacity", str(capacity_bytes), unit="bytes")
    child(root, "allocation", "0", unit="bytes")
    target = child(root, "target")
    child(target, "format", type=fmt)
    if fmt == "qcow2":
        child(target, "compat", QCOW2_COMPAT)
    if backing_path is not None:
        backing = child(root, "backingStore")
        child(backing, "path", backing_path)
        child(backing, "format", type="qcow2")
    return render(root)
