"""What is read out of libvirt's XML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Interface
from pathlib import PurePosixPath
from types import MappingProxyType
from uuid import UUID
from xml.etree.ElementTree import Element, fromstring

from hosts.driver.types import Accelerator, DiskFacts, DomainFacts, Firmware, PowerState, Reason, VolumeFacts
from hosts.driver.xml import outline
from hosts.driver.xml.domain import NAMESPACE, UEFI


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a host offers; an accelerator that is offered need not work."""

    uuid: str
    cpu_model: str
    accelerators: tuple[Accelerator, ...]
    huge_pages_mib: int = 0


def attempt(metadata: str) -> int:
    """The number in a domain's mark, as libvirt gives it: without a namespace (hosts.driver.xml.domain). 0 for none."""
    number = _root(metadata).findtext("attempt") or ""
    return int(number) if number.isascii() and number.isdigit() else 0


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
    huge = root.iterfind("host/topology/cells/cell/pages[@size='2048']")
    huge_pages_mib = 2 * sum(int(each.text or "0") for each in huge)
    return Capabilities(root.findtext("host/uuid", ""), root.findtext("host/cpu/model", ""), offered, huge_pages_mib)


def pool(xml: str) -> tuple[str, ...]:
    """What tells a pool from another of its name: its kind, its path, and what it stands on."""
    root = _root(xml)
    source = root.find("source")
    hosts = [_attribute(host, "name") for host in root.iterfind("source/host")]
    place = _attribute(source.find("dir"), "path") if source is not None else ""
    name = root.findtext("source/name", "") if root.get("type") != "dir" else ""
    return (root.get("type", ""), pool_path(xml), place, name, *sorted(hosts))


def firmwares(xml: str) -> tuple[Firmware, ...]:
    """Of a host's domain capabilities: what libvirt can choose for a guest by itself, and the BIOS, always there."""
    named = {value.text for value in _root(xml).iterfind("os/enum[@name='firmware']/value")}
    return (Firmware.BIOS, Firmware.UEFI) if UEFI in named else (Firmware.BIOS,)


def cpu_models(xml: str) -> tuple[str, ...]:
    """Of a host's domain capabilities: the named processors that it can show a guest, in libvirt's order."""
    return tuple(model.text or "" for model in _root(xml).iterfind("cpu/mode[@name='custom']/model[@usable='yes']"))


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


def display_socket(xml: str) -> str:
    """Where a running domain's display listens; "" where it has none."""
    return _attribute(_root(xml).find("devices/graphics/listen[@type='socket']"), "socket")


def domain(
    xml: str,
    power: PowerState,
    reason: Reason,
    running_xml: str | None = None,
    pools: Mapping[str, str] = MappingProxyType({}),
) -> DomainFacts:
    """The inactive definition of a domain that is in that state, for that reason, and what runs of it.

    `pools` are names by directory: after a block job a disk is known by its file, and is the same volume as before.
    """
    root = _with_volumes(_root(xml), pools)
    vcpu, memory_kib = root.find("vcpu"), int(root.findtext("memory", "0"))
    vcpus_max = int(root.findtext("vcpu", "1"))
    definition = outline.of_domain(root)
    current_kib = int(root.findtext("currentMemory", "0")) or memory_kib
    return DomainFacts(
        uuid=UUID(root.findtext("uuid", "")),
        name=root.findtext("name", ""),
        power=power,
        owner=root.findtext(f"metadata/{{{NAMESPACE}}}vm/{{{NAMESPACE}}}owner") or None,
        vcpus=int(_attribute(vcpu, "current") or vcpus_max),
        vcpus_max=vcpus_max,
        memory_mib=current_kib // 1024,
        memory_max_mib=memory_kib // 1024,
        disks=tuple(_disk(disk) for disk in root.iterfind("devices/disk")),
        outline=definition,
        running_outline=_running(running_xml, pools, definition) if running_xml else None,
        reason=reason,
        macs=_macs(root) | (_macs(_root(running_xml)) if running_xml else frozenset()),
    )


def _macs(root: Element) -> frozenset[str]:
    addresses = (_attribute(mac, "address") for mac in root.iterfind("devices/interface/mac"))
    return frozenset(address.lower() for address in addresses if address)


def _with_volumes(root: Element, pools: Mapping[str, str]) -> Element:
    for source in root.iterfind("devices/disk/source[@file]"):
        path = PurePosixPath(source.get("file", ""))
        if pool := pools.get(str(path.parent)):
            del source.attrib["file"]
            source.attrib.update(pool=pool, volume=path.name)
    return root


def _running(xml: str, pools: Mapping[str, str], definition: frozenset[str]) -> frozenset[str]:
    return outline.of_running(_with_volumes(_root(xml), pools), definition)


def _disk(disk: Element) -> DiskFacts:
    source = disk.find("source")
    path = next(
        (_attribute(source, name) for name in ("volume", "file", "dev", "name") if _attribute(source, name)), ""
    )
    return DiskFacts(_attribute(disk.find("target"), "dev"), _attribute(source, "pool"), path)


def _attribute(element: Element | None, name: str) -> str:
    return "" if element is None else element.get(name, "")
