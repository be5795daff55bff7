"""Network interfaces: https://libvirt.org/formatdomain.html#virtual-network"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from hosts.driver.types import NicSpec
from hosts.driver.xml.element import child


def interface_element(spec: NicSpec) -> Element:
    """A virtio NIC. With a known address, libvirt's filter `clean-traffic` holds the guest to its MAC, ARP and IP."""
    interface = Element("interface", {"type": "network"})
    child(interface, "mac", address=spec.mac)
    child(interface, "source", network=spec.network)
    child(interface, "model", type="virtio")
    if spec.ip is not None:
        rules = child(interface, "filterref", filter="clean-traffic")
        child(rules, "parameter", name="IP", value=spec.ip)
    return interface
