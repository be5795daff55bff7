"""MAC and IPv4 addresses, chosen in the transaction that accepts a machine."""

from __future__ import annotations

import ipaddress
from uuid import UUID

from hosts.models import Host
from portal.core.errors import Conflict
from vms.models import Nic

# The network, the gateway and the broadcast address are nobody's.
_RESERVED_AT_START = 2


def mac_for(id: UUID) -> str:
    """QEMU's locally administered prefix and 32 random bits of the id."""
    tail = id.bytes[-4:]
    return "52:54:" + ":".join(f"{byte:02x}" for byte in tail)


def free_address(host: Host) -> str:
    """The lowest free address of the host's network. The caller holds the host's ledger account, so nobody races."""
    taken = set(Nic.objects.filter(host=host).values_list("ip", flat=True))
    network = ipaddress.ip_network(host.network_cidr)
    for offset in range(_RESERVED_AT_START, network.num_addresses - 1):
        address = str(network[offset])
        if address not in taken:
            return address
    raise Conflict("The network has no free address; delete a machine or ask an administrator.", code="no_address")
