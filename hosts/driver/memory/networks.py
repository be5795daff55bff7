"""Networks with DHCP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network

from hosts.driver import errors
from hosts.driver.memory.state import Calls, MemoryHost
from hosts.driver.types import Lease, PowerState


class NetworkCalls(Calls):
    def ensure_network(self, name: str, candidates: Sequence[str]) -> str:
        with self._call("ensure_network") as host:
            if name not in host.networks:
                host.networks[name] = _first_free(candidates, host.networks.values())
                host.dhcp_hosts[name] = {}
            return host.networks[name]

    def delete_network(self, name: str) -> None:
        with self._call("delete_network") as host:
            host.networks.pop(name, None)
            host.dhcp_hosts.pop(name, None)

    def ensure_dhcp_host(self, network: str, mac: str, ip: str) -> None:
        with self._call("ensure_dhcp_host") as host:
            hosts = dhcp_hosts(host, network)
            for owner in [owner for owner, other in hosts.items() if other == ip]:
                del hosts[owner]
            hosts[mac.lower()] = ip

    def delete_dhcp_host(self, network: str, mac: str) -> None:
        with self._call("delete_dhcp_host") as host:
            host.dhcp_hosts.get(network, {}).pop(mac.lower(), None)

    def leases(self, network: str) -> list[Lease]:
        """Each running guest's static address, as one whose DHCP client is quick would have it."""
        with self._call("leases") as host:
            hosts = dhcp_hosts(host, network)
            running = [spec for spec, power in host.domains.values() if power is PowerState.RUNNING]
            nics = [(spec, nic) for spec in running for nic in spec.nics if nic.network == network]
            until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
            return [Lease(nic.mac, hosts[nic.mac], spec.title, until) for spec, nic in nics if nic.mac in hosts]


def dhcp_hosts(host: MemoryHost, network: str) -> dict[str, str]:
    if network not in host.networks:
        raise errors.NotFound(f"no network {network}")
    return host.dhcp_hosts[network]


def _first_free(candidates: Sequence[str], taken: Iterable[str]) -> str:
    used = [IPv4Network(cidr) for cidr in taken]
    for cidr in candidates:
        if not any(IPv4Network(cidr).overlaps(other) for other in used):
            return cidr
    raise errors.Unsupported("no candidate subnet is free")
