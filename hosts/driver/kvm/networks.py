"""NAT networks and their DHCP server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Network

import libvirt

from hosts.driver import errors
from hosts.driver.kvm.connection import Calls
from hosts.driver.types import Lease
from hosts.driver.xml import parse
from hosts.driver.xml.network import dhcp_host_xml, network_xml

NETWORK_SECONDS = 30.0  # starting one waits for dnsmasq and the firewall
_LIVE_AND_CONFIG = libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE | libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG


class NetworkCalls(Calls):
    def ensure_network(self, name: str, candidates: Sequence[str]) -> str:
        """Unsupported with the host's last word when it takes none of the candidates."""
        return self._connection.call(lambda connect: _ensure(connect, name, candidates), seconds=NETWORK_SECONDS)

    def delete_network(self, name: str) -> None:
        try:
            self._connection.call(lambda connect: _delete(connect, name), seconds=NETWORK_SECONDS)
        except errors.NotFound:
            return

    def ensure_dhcp_host(self, network: str, mac: str, ip: str) -> None:
        self._connection.call(lambda connect: _ensure_host(connect.networkLookupByName(network), mac.lower(), ip))

    def delete_dhcp_host(self, network: str, mac: str) -> None:
        try:
            self._connection.call(lambda connect: _delete_host(connect.networkLookupByName(network), mac.lower()))
        except errors.NotFound:
            return

    def leases(self, network: str) -> list[Lease]:
        return self._connection.read(lambda connect: _leases(connect.networkLookupByName(network)))


def _ensure(connect: libvirt.virConnect, name: str, candidates: Sequence[str]) -> str:
    try:
        network = connect.networkLookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
            raise
        network = _create(connect, name, candidates)
    if not network.isPersistent():
        network = connect.networkDefineXML(network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE))
    if not network.isActive():
        network.create()
    network.setAutostart(1)
    return parse.network_cidr(network.XMLDesc())


def _create(connect: libvirt.virConnect, name: str, candidates: Sequence[str]) -> libvirt.virNetwork:
    """Started before it is defined, so that a subnet that the host refuses leaves no definition, whenever this ends."""
    refusal = "no candidate subnet is free"
    taken = [IPv4Network(parse.network_cidr(other.XMLDesc()) or "0.0.0.0/32") for other in connect.listAllNetworks()]
    for cidr in candidates:
        if any(IPv4Network(cidr).overlaps(other) for other in taken):
            continue
        try:
            return connect.networkCreateXMLFlags(network_xml(name, cidr), libvirt.VIR_NETWORK_CREATE_VALIDATE)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_INTERNAL_ERROR:
                raise
            refusal = str(error)  # "Network is already in use by interface ...": the host has a route of that subnet
    raise errors.Unsupported(refusal)


def _delete(connect: libvirt.virConnect, name: str) -> None:
    network = connect.networkLookupByName(name)
    persistent = network.isPersistent()
    if network.isActive():
        network.destroy()
    if persistent:
        network.undefine()


def _ensure_host(network: libvirt.virNetwork, mac: str, ip: str) -> None:
    hosts = parse.dhcp_hosts(network.XMLDesc())
    if hosts.get(mac) == ip:
        return
    for other in [other for other, address in hosts.items() if address == ip]:
        _update(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, dhcp_host_xml(other))
    if mac in hosts:
        _update(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_MODIFY, dhcp_host_xml(mac, ip))
    else:
        _update(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, dhcp_host_xml(mac, ip))


def _delete_host(network: libvirt.virNetwork, mac: str) -> None:
    if mac in parse.dhcp_hosts(network.XMLDesc()):
        _update(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, dhcp_host_xml(mac))


def _update(network: libvirt.virNetwork, command: int, xml: str) -> None:
    section, any_address = libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST, -1
    network.update(command, section, any_address, xml, _LIVE_AND_CONFIG)


def _leases(network: libvirt.virNetwork) -> list[Lease]:
    return [
        Lease(lease["mac"], lease["ipaddr"], lease["hostname"] or "", datetime.fromtimestamp(lease["expirytime"], UTC))
        for lease in network.DHCPLeases()
    ]
