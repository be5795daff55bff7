"""One turn of the reconciler: read the hosts, compare, act on power, put the rest into the inbox."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from hosts import pool_watch
from hosts.driver.types import DomainFacts, Inventory
from hosts.models import Host
from vms import addresses
from vms.audit import books, compare, run
from vms.audit import rows as of_rows
from vms.audit.findings import Finding, Kind
from vms.audit.rows import HostRow, Machine, Rows
from vms.reconcile import helpers, power, seeds
from vms.reconcile.inbox import Inbox
from vms.reconcile.power import Ruling
from vms.reconcile.recovery import Recovery, obey_guest

Pair = tuple[Machine, DomainFacts]
logger = logging.getLogger(__name__)


class Reconciler:
    """Held by the observer; a new one needs one turn more to believe what it sees."""

    def __init__(self) -> None:
        self._inbox = Inbox()

    def turn(self) -> None:
        """Hosts that did not answer lately are left out, so that they hold up nobody; failed ones are cleared first."""
        before = of_rows.note()
        readings = run.read([host for host in Host.objects.all() if host.is_reachable and not host.has_failed])
        rows = of_rows.load(before)
        self._inbox.next_turn()
        with _guarded("the books"):
            self._inbox.take_books(books.findings(rows), rows)
        for host in rows.hosts:
            reading = readings.get(host.id)
            if isinstance(reading, Inventory):
                with _guarded(host.name):
                    self._take(host, reading, rows)

    def _take(self, host: HostRow, inventory: Inventory, rows: Rows) -> None:
        pool_watch.take_contents(host.id, inventory.pools)
        addresses.note_unknown(host.id, host.cluster_id, inventory, rows.names)
        Host.objects.filter(pk=host.id, is_unknown=True).update(is_unknown=False)
        findings = _with_lost_disks([*compare.findings(host, inventory, rows), *_power(host, inventory, rows)])
        self._inbox.take_host(host.id, findings, rows, inventory)
        helpers.end_left(host, inventory, rows)
        seeds.remove_strays(host, inventory, rows)


def _with_lost_disks(findings: list[Finding]) -> list[Finding]:
    """What is told of a machine says as well that it has lost a disk, without which it is not to be restored."""
    missing = [each for each in findings if each.kind == Kind.DISK_MISSING and not each.evidence.get("can_be_made")]
    lost = {each.vm_id: each.object for each in missing if each.vm_id}
    return [
        replace(each, evidence={**each.evidence, "lost_disk": lost[each.vm_id]}) if each.vm_id in lost else each
        for each in findings
    ]


@contextmanager
def _guarded(name: str) -> Iterator[None]:
    """What goes wrong with one host keeps no other from its turn; its own cards stay as they are."""
    try:
        yield
    except Exception:
        logger.exception("reconciling %s", name)


def _power(host: HostRow, inventory: Inventory, rows: Rows) -> list[Finding]:
    """Acts on what has a rule, and returns what an administrator must see."""
    found: list[Finding] = []
    lost: list[Pair] = []
    for machine, domain in _settled(host, inventory, rows):
        ruling = power.rule(machine, domain, rows.at)
        if ruling is Ruling.OBEY_GUEST:
            obey_guest(machine.id)
        elif ruling is Ruling.BRING_BACK:
            lost.append((machine, domain))
        elif ruling is not Ruling.AS_WANTED:
            found.append(power.finding(machine, domain, host, ruling))
    recovery = Recovery([machine.id for machine, _ in lost], rows.at)
    for machine, domain in lost:
        if not recovery.bring_back(machine.id, machine.off_since):
            found.append(power.finding(machine, domain, host, Ruling.STOPPED_OUTSIDE))
    return found


def _settled(host: HostRow, inventory: Inventory, rows: Rows) -> Iterator[Pair]:
    """Each machine of the host that is built and has no operation under way, with its domain there."""
    for domain in inventory.domains:
        machine = rows.machines.get(domain.uuid)
        is_here = machine is not None and machine.host_id == host.id
        if machine and is_here and machine.is_settled and machine.id not in rows.busy:
            yield machine, domain
