"""Virtual networks: https://libvirt.org/formatnetwork.html"""

from __future__ import annotations

from hashlib import sha256
from ipaddress import IPv4Network
from xml.etree.ElementTree import Element

from hosts.driver.xml.element import child, render

LONGEST_INTERFACE_NAME = 15  # IFNAMSIZ of Linux, less its terminating zero


def bridge_name(network: str) -> str:
    """The network's bridge device: the same for the same name, and another for another one however long it is."""
    prefix = "vb-"
    if len(prefix + network) <= LONGEST_INTERFACE_NAME and network.isascii() and network.isalnum():
        return prefix + network
    return prefix + sha256(network.encode()).hexdigest()[: LONGEST_INTERFACE_NAME - len(prefix)]


def network_xml(name: str, cidr: str) -> str:
    """A NAT network whose gateway is its first address and whose DHCP server knows static hosts only."""
    subnet = IPv4Network(cidr)
    root = Element("network")
    child(root, "name", name)
    child(root, "forward", mode="nat")
    child(root, "bridge", name=bridge_name(name), stp="on", delay="0")
    address = child(root, "ip", address=str(subnet[1]), prefix=str(subnet.prefixlen))
    child(address, "dhcp")
    return render(root)


def dhcp_host_xml(mac: str, ip: str | None = None) -> str:
    """The entry of one guest; to delete it its MAC is enough."""
    attributes = {"mac": mac} if ip is None else {"mac": mac, "ip": ip}
    return render(Element("host", attributes))
