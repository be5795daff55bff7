"""What is read out of libvirt's XML."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Interface
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element, fromstring

from hosts.driver.types import Accelerator, VolumeFacts


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a host offers; an accelerator that is offered need not work."""

    cpu_model: str
    accelerators: tuple[Accelerator, ...]


def _root(xml: str) -> Element:
    """libvirtd wrote it, so its makers are trusted; expat itself bounds entity expansion."""
    return fromstring(xml)  # noqa: S314


def capabilities(xml: str) -> Capabilities:
    root = _root(xml)
    types = {
        domain.get("type")
        for guest in root.iter("guest")
        if guest.findtext("os_type") == "hvm"
        for domain in guest.iterfind("arch[@name='x86_64']/domain")
    }
    offered = tuple(accelerator for accelerator in Accelerator if accelerator.value in types)
    return Capabilities(root.findtext("host/cpu/model", ""), offered)


def pool_path(xml: str) -> str:
    return _root(xml).findtext("target/path", "")


def volume(xml: str) -> VolumeFacts:
    root = _root(xml)
    backing = root.findtext("backingStore/path")
    fmt = _attribute(root.find("target/format"), "type")
    return VolumeFacts(
        name=root.findtext("name", ""),
        path=root.findtext("target/path", ""),
        format=fmt if fmt == "qcow2" else "raw",  # libvirt looks inside raw ones and calls some "iso"
        capacity_bytes=int(root.findtext("capacity", "0")),
        allocation_bytes=int(root.findtext("allocation", "0")),
        backing=PurePosixPath(backing).name if backing else None,
    )


def volume_modified_at(xml: str) -> datetime | None:
    """When the volume's file was last written, by the host's clock; None where the host does not say."""
    seconds = _root(xml).findtext("target/timestamps/mtime")
    return datetime.fromtimestamp(float(seconds), UTC) if seconds else None


def network_cidr(xml: str) -> str:
    """The subnet of the network's first IPv4 address; "" where it has none."""
    for address in _root(xml).iterfind("ip"):
        if address.get("family", "ipv4") == "ipv4":
            size = address.get("prefix") or address.get("netmask") or "32"
            return str(IPv4Interface(f"{address.get('address')}/{size}").network)
    return ""


def dhcp_hosts(xml: str) -> dict[str, str]:
    """The network's static hosts: address by MAC."""
    hosts = _root(xml).iterfind("ip/dhcp/host")
    return {str(host.get("mac")).lower(): str(host.get("ip")) for host in hosts if host.get("mac")}


def _attribute(element: Element | None, name: str) -> str:
    return "" if element is None else element.get(name, "")
