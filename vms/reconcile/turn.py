"""One turn of the reconciler: read the hosts, compare, act on power, put the rest into the inbox."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from uuid import UUID

from hosts.driver.types import DomainFacts, Inventory
from hosts.models import Host
from vms.audit import rows as of_rows
from vms.audit import run
from vms.audit.findings import Finding
from vms.audit.rows import HostRow, Machine, Rows
from vms.models import Lifecycle
from vms.reconcile import power
from vms.reconcile.inbox import Inbox
from vms.reconcile.power import Ruling
from vms.reconcile.recovery import Recovery, obey_guest

Pair = tuple[Machine, DomainFacts, HostRow]


class Reconciler:
    """Held by the observer; a new one needs one turn more to believe what it sees."""

    def __init__(self) -> None:
        self._inbox = Inbox()

    def turn(self) -> None:
        """Hosts that did not answer lately are left out, so that they hold up nobody."""
        before = of_rows.note()
        readings = run.read([host for host in Host.objects.all() if host.is_reachable])
        rows = of_rows.load(before)
        inventories = {id: reading for id, reading in readings.items() if isinstance(reading, Inventory)}
        findings = [*run.compare_all(rows, readings), *_power(rows, inventories)]
        self._inbox.take(findings, rows, inventories)


def _power(rows: Rows, inventories: Mapping[UUID, Inventory]) -> list[Finding]:
    """Acts on what has a rule, and returns what an administrator must see."""
    found: list[Finding] = []
    lost: list[Pair] = []
    for machine, domain, host in _settled(rows, inventories):
        ruling = power.rule(machine, domain, rows.at)
        if ruling is Ruling.OBEY_GUEST:
            obey_guest(machine.id)
        elif ruling is Ruling.BRING_BACK:
            lost.append((machine, domain, host))
        elif ruling is not Ruling.AS_WANTED:
            found.append(power.finding(machine, domain, host, ruling))
    recovery = Recovery([machine.id for machine, _, _ in lost], rows.at)
    for machine, domain, host in lost:
        if not recovery.bring_back(machine.id, machine.off_since):
            found.append(power.finding(machine, domain, host, Ruling.STOPPED_OUTSIDE))
    return found


def _settled(rows: Rows, inventories: Mapping[UUID, Inventory]) -> Iterator[Pair]:
    """Each machine that is built and has no operation under way, with its domain on its own host."""
    for host in rows.hosts:
        inventory = inventories.get(host.id)
        for domain in inventory.domains if inventory else ():
            machine = rows.machines.get(domain.uuid)
            is_here = machine is not None and machine.host_id == host.id
            if machine and is_here and machine.lifecycle == Lifecycle.READY and machine.id not in rows.busy:
                yield machine, domain, host
