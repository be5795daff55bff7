"""The chain of files behind a disk of a running domain, as libvirt tells it: https://libvirt.org/formatdomain.html"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element, fromstring

_PATHS = ("file", "dev", "name")


@dataclass(frozen=True, slots=True)
class Link:
    """A file of the chain: its name in its pool, and libvirt's number for it while the domain runs."""

    volume: str
    index: str


def chain_of(xml: str, target: str) -> list[Link]:
    """From the file that is written to down to the last one that it stands on; empty where there is no such disk."""
    root = fromstring(xml)  # noqa: S314  libvirtd wrote it
    for disk in root.iterfind("devices/disk"):
        place = disk.find("target")
        if place is not None and place.get("dev") == target:
            return _links(disk)
    return []


def targets_of(xml: str) -> list[str]:
    """The names of all disks and drives that the guest sees."""
    places = fromstring(xml).iterfind("devices/disk/target")  # noqa: S314  libvirtd wrote it
    return [place.get("dev", "") for place in places]


def _links(disk: Element) -> list[Link]:
    links, place = [], disk
    while (source := place.find("source")) is not None:
        links.append(Link(volume_name(source), source.get("index") or place.get("index") or ""))
        below = place.find("backingStore")
        if below is None:
            break
        place = below
    return links


def volume_name(source: Element) -> str:
    if volume := source.get("volume"):
        return volume
    return next((PurePosixPath(source.get(name, "")).name for name in _PATHS if source.get(name)), "")
