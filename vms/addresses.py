"""MAC and IPv4 addresses, chosen in the transaction that accepts a machine.

A MAC belongs to an address of a cluster, not to a machine. So an address can be given out again at once (a DHCP server
would refuse it to another MAC until the last lease is over), and its reservation stays on hosts for the next one.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Collection, Iterator
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q

from hosts.driver.types import Inventory
from hosts.models import Host
from portal.core.errors import Conflict
from vms.models import VM, Nic, UnknownNic

# The network, the gateway and the broadcast address are nobody's.
_RESERVED_AT_START = 2


def mac_for(cluster_id: UUID, ip: str) -> str:
    """QEMU's locally administered prefix and 32 bits of a digest."""
    tail = hashlib.blake2s(cluster_id.bytes + ip.encode(), digest_size=4).digest()
    return "52:54:" + ":".join(f"{byte:02x}" for byte in tail)


def give_address(vm: VM) -> Nic:
    """The lowest free address of the network of its host's cluster, with its MAC. Raises Conflict where none is free.

    Who takes the same one at the same moment is found out by the database, and another is looked for.
    """
    while True:
        ip, mac = free_address(vm.host)
        try:
            with transaction.atomic():
                return Nic.objects.create(vm=vm, cluster_id=vm.host.cluster_id, ip=ip, mac=mac)
        except IntegrityError:
            if not Nic.objects.filter(Q(cluster=vm.host.cluster_id, ip=ip) | Q(mac=mac)).exists():
                raise


def free_address(host: Host) -> tuple[str, str]:
    """As it is now: none that a machine of the cluster has, nor that something unknown has on one of its hosts."""
    cluster_id = host.cluster_id
    unknown = UnknownNic.objects.filter(host__cluster=cluster_id).values_list("ip", "mac")
    taken = {*Nic.objects.filter(cluster=cluster_id).values_list("ip", flat=True), *(ip for ip, _ in unknown)}
    macs = {mac for _, mac in unknown}
    for ip in _addresses(host):
        mac = mac_for(cluster_id, ip)
        # digests may meet: then a machine of another cluster has this MAC, and the address is passed over
        if ip not in taken and mac not in macs and not Nic.objects.filter(mac=mac).exists():
            return ip, mac
    raise Conflict("The network has no free address; delete a machine or ask an administrator.", code="no_address")


def note_unknown(host_id: UUID, cluster_id: UUID, inventory: Inventory, known: Collection[str]) -> None:
    """Keep what has a MAC on the host that is not `known`, and forget what is there no more.

    A reservation whose MAC is the one of its address was a machine's, and waits for the next one.
    """
    reserved = inventory.dhcp_hosts or {}
    macs = {mac for domain in inventory.domains for mac in domain.macs}
    macs |= {mac for mac, ip in reserved.items() if mac != mac_for(cluster_id, ip)}
    found = {(mac, reserved.get(mac)) for mac in macs if mac not in known}
    rows = UnknownNic.objects.filter(host_id=host_id)
    if found != set(rows.values_list("mac", "ip")):
        with transaction.atomic():
            rows.delete()
            UnknownNic.objects.bulk_create(UnknownNic(host_id=host_id, mac=mac, ip=ip) for mac, ip in found)


def _addresses(host: Host) -> Iterator[str]:
    network = ipaddress.ip_network(host.network_cidr)
    for offset in range(_RESERVED_AT_START, network.num_addresses - 1):
        yield str(network[offset])
