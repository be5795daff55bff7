"""Which host takes a machine: filters, then the emptiest first, claimed in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from django.db import transaction

from hosts import selectors
from hosts.models import Host, HostState
from portal.core.errors import Conflict
from portal.quotas import ledger


class NoCapacity(Conflict):
    """No host can take it now; the words say which constraint failed."""

    code = "no_capacity"


def place(
    holder_id: UUID, wanted: Mapping[str, int], firmware: str = "bios", fits: Callable[[Host], object] = bool
) -> Host:
    """Claim `wanted` (vcpus, memory_mib, disk_gib) on a host that has the firmware, and return it. Raises NoCapacity.

    A host that is away for the moment still takes machines: the work waits for it and says so. `fits` is asked of a
    host on which all that is claimed, and raises NoCapacity where something else is in the way.
    """
    ready = [host for host in Host.objects.filter(state=HostState.ENABLED) if host.takes_machines]
    if not ready:
        raise NoCapacity(selectors.why_none_takes_machines())
    candidates = [host for host in ready if host.has_firmware(firmware)]
    if not candidates:
        raise NoCapacity("No host has UEFI firmware. Choose an image that starts by BIOS, or ask an administrator.")
    used = ledger.used_by_account(host.pk for host in candidates)
    refusals, misfits = [], []
    for host in sorted(candidates, key=lambda host: _rank(host, used.get(host.pk, {}))):
        try:
            with transaction.atomic():  # a host that refuses is let go of at once, or two requests wait for each other
                ledger.hold(host.pk, holder_id, wanted, host.capacity)
                fits(host)
        except ledger.Exceeded as refusal:
            refusals.append(refusal)
        except NoCapacity as misfit:
            misfits.append(misfit)
        else:
            return host
    raise misfits[-1] if misfits else _refusal(refusals)


def place_on(host: Host, holder_id: UUID, wanted: Mapping[str, int]) -> None:
    """Claim `wanted` on this host, for what can be nowhere else. Raises NoCapacity."""
    if not host.takes_machines:
        raise NoCapacity("The host of this machine takes no new machines at the moment. Try again later.")
    resize(host, holder_id, wanted)


def resize(host: Host, holder_id: UUID, wanted: Mapping[str, int]) -> None:
    """Change what a machine claims of the host it is on. Raises NoCapacity."""
    try:
        ledger.hold(host.pk, holder_id, wanted, host.capacity)
    except ledger.Exceeded as refusal:
        raise _refusal([refusal]) from refusal


def _rank(host: Host, used: Mapping[str, int]) -> tuple[bool, float]:
    """Hosts that answer come first, then those with the largest free share of memory."""
    capacity = host.capacity["memory_mib"] or 1
    return not host.is_reachable, used.get("memory_mib", 0) / capacity


_WORDS = {"vcpus": "vCPUs", "memory_mib": "MiB of memory", "disk_gib": "GiB of disk"}


def _refusal(refusals: list[ledger.Exceeded]) -> NoCapacity:
    closest = min(refusals, key=lambda refusal: refusal.extra["requested"])
    resource = closest.extra["resource"]
    return NoCapacity(
        f"No host has {closest.extra['requested']} {_WORDS[resource]} free. Choose a smaller size, or try again later.",
        extra={"resource": resource, "requested": closest.extra["requested"]},
    )
