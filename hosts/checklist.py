"""What a host must have, as its last preflight found it: one line each, for the page and the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hosts.models import Host

LEAST_LIBVIRT, LEAST_QEMU = (9, 0, 0), (7, 2, 0)


@dataclass(frozen=True)
class Check:
    """`detail` says what was found, and what to do where that is not enough."""

    name: str
    is_ok: bool
    detail: str


def checks(host: Host) -> list[Check]:
    """Nothing before the first preflight. Reads the host's pools and its cluster."""
    if host.checked_at is None:
        return []
    return [check for each in _CHECKS for check in each(host)]


def _versions(host: Host) -> Iterator[Check]:
    for name, found, least in (
        ("libvirt", host.libvirt_version, LEAST_LIBVIRT),
        ("QEMU", host.qemu_version, LEAST_QEMU),
    ):
        numbers = tuple(int(part) for part in found.split(".") if part.isdigit())
        wanted = ".".join(map(str, least))
        yield Check(f"{name} version", numbers >= least, f"{found or 'unknown'}; {wanted} or newer is needed")


def _accelerator(host: Host) -> Iterator[Check]:
    words = {"kvm": "KVM boots guests", "qemu": "Emulation only: correct, and ten times slower or more"}
    yield Check("Accelerator", host.is_ready, words.get(host.accelerator, "None booted the trivial guest"))


def _processor(host: Host) -> Iterator[Check]:
    """As long as the cluster has no baseline, machines move only between hosts with the same processor."""
    wanted = host.cluster.cpu_model
    if wanted:
        yield Check("Processor", True, f"Guests see {wanted}, the baseline of its cluster")
        return
    others = {other.cpu_model for other in host.cluster.hosts.all() if other.cpu_model and other.pk != host.pk}
    is_alike = host.accelerator != "kvm" or others <= {host.cpu_model}
    words = "as the others of its cluster" if is_alike else "unlike others of its cluster: give that a baseline"
    yield Check("Processor", is_alike, f"{host.cpu_model or 'unknown'}, {words}")


def _network(host: Host) -> Iterator[Check]:
    wanted = host.cluster.network_cidr
    is_same = bool(host.network_cidr) and host.network_cidr == wanted
    words = f"that of its cluster is {wanted}" if not is_same else "the same as in all of its cluster"
    yield Check("Network", is_same, f"{host.network_cidr or 'none'}; {words}")


def _pools(host: Host) -> Iterator[Check]:
    for pool in host.storage_pools.all():
        yield Check(f"Pool {pool.name}", pool.is_ready, pool.error or ("There" if pool.is_ready else "Not seen yet"))


_CHECKS: tuple[Callable[[Host], Iterator[Check]], ...] = (_versions, _accelerator, _processor, _network, _pools)
