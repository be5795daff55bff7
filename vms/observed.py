"""Taking in what hosts say of machines. Writes only what changed, and never deletes a row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from hosts.driver.types import DomainEvent, Lease, PowerState
from hosts.models import Host
from hosts.observe import Reading
from portal.core import clocks
from portal.events import live, log
from portal.operations.models import Operation
from portal.operations.selectors import active_on_each
from portal.tenancy.gate import SYSTEM
from vms.models import VM, Lifecycle, Nic, Power

# as VM.is_settled says it
SETTLED = Q(lifecycle=Lifecycle.READY) | Q(lifecycle=Lifecycle.DELETING, binned_at__isnull=False)
LEASE_TIME = timedelta(hours=1)  # for which libvirt's DHCP server gives an address
_POWER = {
    PowerState.RUNNING: Power.RUNNING,
    PowerState.PAUSED: Power.PAUSED,
    PowerState.STOPPED: Power.STOPPED,
    PowerState.CRASHED: Power.STOPPED,
}
# A machine that is off has its disks read by a QEMU in which it never runs: it is off to everybody but libvirt.
LOADS_WHAT_IS_OFF = frozenset({"vm.backup", "vm.migrate"})
# One that moves pauses for a moment, and is gone from its host before it is anywhere else: the operation tells.
_LEAVES_ITS_HOST = "vm.migrate"
_FIELDS = ("tenant_id", "name", "lifecycle", "binned_at", "observed_power", "observed_since", "is_missing")
Told = Mapping[UUID, PowerState | Power]


class _News(NamedTuple):
    """`vm` as it was known, and its power now; None: the host does not know it."""

    vm: VM
    power: Power | None

    @property
    def is_change(self) -> bool:
        return _known(self.vm) != self.power


def note(vm_id: UUID, power: PowerState | Power | None, at: datetime | None = None, host: Host | None = None) -> None:
    """The machine was in that state at `at` (None: the host does not know it).

    A reading older than what is known already changes nothing, nor one by a `host` that the machine is not on. What
    nobody asked for here goes into the log.
    """
    rows = VM.objects.unscoped("observation").filter(pk=vm_id)
    told: Told = {} if power is None else {vm_id: power}
    if host is None:
        _take(rows, told, at or timezone.now())
    else:
        _take(rows.filter(host=host), told, at or timezone.now(), is_watched=True)


def take_event(host: Host, event: DomainEvent) -> None:
    note(event.uuid, event.power, event.at, host)


def take_reading(host: Host, reading: Reading) -> None:
    """One bulk reading of a host against what is known of its machines; as many queries for one as for all."""
    rows = VM.objects.unscoped("observation").filter(SETTLED, host=host)
    _take(rows, {state.uuid: state.power for state in reading.states}, reading.at, is_watched=True)
    _take_leases(host, reading.leases)


def _take(rows: QuerySet[VM], told: Told, at: datetime, *, is_watched: bool = False) -> None:
    """Looks before it locks: most readings bring no news. `is_watched`: told by a host, and not by an operation."""
    if not _news(rows, told, at, is_watched):
        return
    with transaction.atomic():
        news = _news(rows.order_by("pk").select_for_update(), told, at, is_watched)
        _write(news, at)
        _log([each for each in news if each.is_change])
        _tell((each.vm.tenant_id, each.vm.pk) for each in news)


def _news(rows: QuerySet[VM], told: Told, at: datetime, is_watched: bool) -> list[_News]:
    found = [_News(vm, _POWER[PowerState(told[vm.pk])] if vm.pk in told else None) for vm in rows.only(*_FIELDS)]
    news = [each for each in found if _is_news(each, at)]
    changed = [each.vm.pk for each in news if each.is_change]
    busy = active_on_each(changed) if changed else {}
    return [each for each in news if not (each.vm.pk in busy and _is_of(busy[each.vm.pk], each, is_watched))]


def _is_of(operation: Operation, news: _News, is_watched: bool) -> bool:
    """Whether it is the operation's own doing, and says nothing of the machine."""
    is_loaded = (_known(news.vm), news.power) == (Power.STOPPED, Power.PAUSED)
    return (is_loaded and operation.kind in LOADS_WHAT_IS_OFF) or (is_watched and operation.kind == _LEAVES_ITS_HOST)


def _is_news(news: _News, at: datetime) -> bool:
    if news.power is None and not news.vm.is_settled:
        return False
    since = news.vm.observed_since
    if since is not None and since > clocks.latest():  # from before a clock was set back
        return True
    return news.is_change and (since is None or since <= at)


def _known(vm: VM) -> Power | None:
    return None if vm.is_missing else Power(vm.observed_power)


def _write(news: Iterable[_News], at: datetime) -> None:
    ids = defaultdict(list)
    for vm, power in news:
        ids[power].append(vm.pk)
    for power, those in ids.items():
        rows = VM.objects.unscoped("observation").filter(pk__in=those)
        if power is None:
            rows.update(is_missing=True, observed_since=at)
        else:
            rows.update(observed_power=power, is_missing=False, observed_since=at)


def _log(changes: Sequence[_News]) -> None:
    """What no operation is at work on changed by itself, or by somebody's hand on the host."""
    if not changes:
        return
    busy = active_on_each(vm.pk for vm, _ in changes)
    own = [each for each in changes if each.vm.is_settled and each.vm.pk not in busy]
    told = [log.Change(vm, {"power": _known(vm) or "missing"}, {"power": power or "missing"}) for vm, power in own]
    log.record_all("vm.power-changed", actor=SYSTEM, changes=told)


def _take_leases(host: Host, leases: Sequence[Lease]) -> None:
    """A lease from before the machine was accepted is that of the one that had the address earlier."""
    until = {lease.mac: lease.expires_at for lease in leases}
    waiting = Nic.objects.filter(vm__host=host, seen_at=None, mac__in=until).select_related("vm")
    second = timedelta(seconds=1)  # leases know whole seconds
    taken = [nic for nic in waiting if until[nic.mac] - LEASE_TIME > nic.vm.created_at - second]
    if taken:
        Nic.objects.filter(pk__in=[nic.pk for nic in taken]).update(seen_at=timezone.now())
        _tell((nic.vm.tenant_id, nic.vm_id) for nic in taken)


def _tell(machines: Iterable[tuple[UUID, UUID]]) -> None:
    """Each tenant's pages of its own."""
    topics: dict[UUID, list[str]] = defaultdict(list)
    for tenant_id, vm_id in machines:
        topics[tenant_id].append(f"vm:{vm_id}")
    for tenant_id, own in topics.items():
        live.tell(tenant_id, *own, "vms")
