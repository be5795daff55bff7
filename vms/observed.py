"""Taking in what hosts say of machines. Writes only what changed, and never deletes a row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from hosts.driver.types import DomainEvent, Lease, PowerState
from hosts.models import Host
from hosts.observe import Reading
from portal.events import live, log
from portal.operations import services as operations
from portal.tenancy.gate import SYSTEM
from vms.models import VM, Lifecycle, Nic, Power

CLOCKS_APART = timedelta(seconds=5)  # at most, of the machines that observe
LEASE_TIME = timedelta(hours=1)  # for which libvirt's DHCP server gives an address
_POWER = {
    PowerState.RUNNING: Power.RUNNING,
    PowerState.PAUSED: Power.PAUSED,
    PowerState.STOPPED: Power.STOPPED,
    PowerState.CRASHED: Power.STOPPED,
}


def note(vm_id: UUID, power: PowerState | Power | None, at: datetime | None = None, host: Host | None = None) -> bool:
    """The machine was in that state at `at` (None: the host does not know it). True where that is news.

    A reading older than what is known already changes nothing, nor one by a `host` that the machine is not on. What
    nobody asked for here goes into the log.
    """
    at = at or timezone.now()
    ahead = timezone.now() + CLOCKS_APART  # from before a clock was set back
    older = Q(observed_since=None) | Q(observed_since__lte=at) | Q(observed_since__gt=ahead)
    rows = VM.objects.unscoped("observation").filter(older, pk=vm_id)
    if host is not None:
        rows = rows.filter(host=host)
    if power is None:
        rows = rows.filter(is_missing=False, lifecycle=Lifecycle.READY)
        news: dict[str, Any] = {"is_missing": True}
    else:
        observed = _POWER[PowerState(power)]
        rows = rows.filter(~Q(observed_power=observed) | Q(is_missing=True))
        news = {"observed_power": observed, "is_missing": False}
    return _take(rows, {**news, "observed_since": at})


@transaction.atomic
def _take(rows: QuerySet[VM], news: dict[str, Any]) -> bool:
    before = rows.first()
    if before is None or not rows.update(**news):
        return False
    _tell(before.pk)
    if before.lifecycle == Lifecycle.READY and operations.active_on("vm", before.pk) is None:
        after = "missing" if news["is_missing"] else str(news["observed_power"])
        was = "missing" if before.is_missing else before.observed_power
        log.record("vm.power_changed", actor=SYSTEM, target=before, before={"power": was}, after={"power": after})
    return True


def take_event(host: Host, event: DomainEvent) -> None:
    note(event.uuid, event.power, event.at, host)


def take_reading(host: Host, reading: Reading) -> None:
    """One bulk reading of a host against what is known of its machines."""
    seen = {state.uuid: state.power for state in reading.states}
    known = VM.objects.unscoped("observation").filter(host=host, lifecycle=Lifecycle.READY)
    for vm_id, power, is_missing in known.values_list("pk", "observed_power", "is_missing"):
        told = seen.get(vm_id)
        if _differs(told, power, is_missing):
            note(vm_id, told, reading.at)
    _take_leases(host, reading.leases)


def _differs(told: PowerState | None, power: str, is_missing: bool) -> bool:
    if told is None:
        return not is_missing
    return is_missing or _POWER[told] != power


def _take_leases(host: Host, leases: Sequence[Lease]) -> None:
    """A lease from before the machine was accepted is that of the one that had the address earlier."""
    until = {lease.mac: lease.expires_at for lease in leases}
    waiting = Nic.objects.filter(host=host, seen_at=None, mac__in=until).select_related("vm")
    for nic in waiting:
        if until[nic.mac] - LEASE_TIME > nic.vm.created_at - timedelta(seconds=1):  # leases know whole seconds
            Nic.objects.filter(pk=nic.pk).update(seen_at=timezone.now())
            _tell(nic.vm_id)


def _tell(vm_id: UUID) -> None:
    tenant_id = VM.objects.unscoped("observation").filter(pk=vm_id).values_list("tenant_id", flat=True).first()
    live.tell(tenant_id, f"vm:{vm_id}", "vms")
