"""What a machine takes of a host, and what that lacks for it: room for its size, and for what it is promised. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from hosts import resources, service_class
from hosts.choice import Site
from hosts.models import Host
from hosts.service_class import Promise


def claims(promise: Promise, amounts: Mapping[str, int], host: Host, site: Site) -> dict[str, int]:
    """`amounts` and what is promised, by resource; CPUs of its own by their numbers, as many as are free."""
    free = [number for number in host.cpus_of_their_own if f"cpu:{number}" not in site.used]
    pins = free[: promise.vcpus] if promise.is_dedicated else []
    return {**amounts, **service_class.amounts(promise, service_class.floor_on(promise, host), pins)}


def lacks(promise: Promise, claims: Mapping[str, int], host: Host, site: Site) -> str:
    """What is short there, in words; "" where nothing is."""
    limits = {**service_class.limits(host), **site.capacity}
    over = {
        name: site.used.get(name, 0) + amount - (limits.get(name) or 0) for name, amount in claims.items() if amount
    }
    missing = {name: amount for name, amount in over.items() if amount > 0 and limits.get(name) is not None}
    told = [resources.short(missing)] if missing else []
    if promise.is_dedicated and sum(name.startswith("cpu:") for name in claims) < promise.vcpus:
        told.append("too few CPUs for dedicated machines")
    return ", ".join(told)
