"""Claiming what a service class promises, in the transaction that places the machine."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from hosts import resources, service_class
from hosts.choice import Constraint
from hosts.models import Host
from hosts.placement import NoCapacity
from hosts.service_class import Promise
from portal.quotas import ledger

_CPU = "cpu:"
_EXTRAS = ("cpu_floor", "reserved_mib", "huge_pages_mib")


def reserve(host: Host, holder_id: UUID, promise: Promise) -> tuple[int, ...]:
    """Claim what is promised, beside what the holder has; the CPUs of its own that it gets. Raises NoCapacity.

    What the holder has of these already counts: it holds the larger of both until `settle`.
    """
    if reason := service_class.why_not(promise, host):
        raise NoCapacity(
            f"No host can keep what this size promises: {reason}. Choose another, or ask an administrator.",
            extra={"constraint": Constraint.CLAIM},
        )
    held = {name: amount for name, amount in ledger.held(host.pk, holder_id).items() if _is_extra(name)}
    pins = _free_cpus(host, held, promise.vcpus) if promise.is_dedicated else ()
    wanted = service_class.amounts(promise, service_class.floor_on(promise, host), pins)
    larger = {name: max(amount, held.get(name, 0)) for name, amount in wanted.items()}
    try:
        ledger.hold(host.pk, holder_id, larger, service_class.limits(host))
    except ledger.Exceeded as refusal:
        raise _refusal(refusal) from refusal
    return pins


def settle(host_id: UUID, holder_id: UUID, wanted: Mapping[str, int]) -> None:
    """The holder has exactly that of the host from now on, and it is not more than it had."""
    others = [name for name in ledger.held(host_id, holder_id) if _is_extra(name) and name not in wanted]
    ledger.hold(host_id, holder_id, {**dict.fromkeys(others, 0), **wanted}, {})


def _is_extra(resource: str) -> bool:
    return resource in _EXTRAS or resource.startswith(_CPU)


def _free_cpus(host: Host, held: Mapping[str, int], count: int) -> tuple[int, ...]:
    """Its own first. The caller holds the host's account, so nobody else takes one meanwhile."""
    own = [int(name.removeprefix(_CPU)) for name in held if name.startswith(_CPU)]
    taken = ledger.used(host.pk)
    free = [number for number in host.cpus_of_their_own if f"{_CPU}{number}" not in taken]
    found = [*sorted(own), *free][:count]
    if len(found) < count:
        cpus = "one CPU" if count == 1 else f"{count} CPUs"
        raise NoCapacity(
            f"No host has {cpus} free for a dedicated machine. Choose another size, or try again later.",
            extra={"constraint": Constraint.CAPACITY, "resource": "dedicated_cpus", "requested": count},
        )
    return tuple(found)


def _refusal(refusal: ledger.Exceeded) -> NoCapacity:
    resource, requested = refusal.extra["resource"], refusal.extra["requested"]
    what = "its CPUs" if resource.startswith(_CPU) else resources.amount(resource, requested)
    return NoCapacity(
        f"No host has {what} left. Choose a smaller size or one of a lesser class, or try again later.",
        extra={"constraint": Constraint.CAPACITY, "resource": resource, "requested": requested},
    )
