"""Storage pools: https://libvirt.org/formatstorage.html"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree.ElementTree import Element

from hosts.driver.types import PoolKind, PoolSpec
from hosts.driver.xml.element import child, render


def pool_xml(name: str, path: Path) -> str:
    """A directory pool."""
    return pool_spec_xml(PoolSpec(name, PoolKind.DIR, str(path)))


def pool_spec_xml(spec: PoolSpec) -> str:
    root = Element("pool", {"type": spec.kind.value})
    child(root, "name", spec.name)
    if spec.kind in _SOURCES:
        _SOURCES[spec.kind](child(root, "source"), spec)
    if spec.path:
        child(child(root, "target"), "path", spec.path)
    return render(root)


def _nfs(source: Element, spec: PoolSpec) -> None:
    for host in spec.hosts:
        child(source, "host", name=host)
    child(source, "dir", path=spec.source)
    child(source, "format", type="nfs")


def _volume_group(source: Element, spec: PoolSpec) -> None:
    child(source, "name", spec.source)
    child(source, "format", type="lvm2")


def _ceph(source: Element, spec: PoolSpec) -> None:
    for monitor in spec.hosts:
        name, _, port = monitor.partition(":")
        child(source, "host", name=name, **({"port": port} if port else {}))
    child(source, "name", spec.source)
    if spec.user:
        auth = child(source, "auth", type="ceph", username=spec.user)
        child(auth, "secret", uuid=spec.secret)


_SOURCES: Mapping[PoolKind, Callable[[Element, PoolSpec], None]] = {
    PoolKind.NETFS: _nfs,
    PoolKind.LOGICAL: _volume_group,
    PoolKind.RBD: _ceph,
}
