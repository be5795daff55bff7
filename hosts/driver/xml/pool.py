"""Storage pools: https://libvirt.org/formatstorage.html"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from hosts.driver.xml.element import child, render


def pool_xml(name: str, path: Path) -> str:
    root = Element("pool", {"type": "dir"})
    child(root, "name", name)
    child(child(root, "target"), "path", str(path))
    return render(root)
