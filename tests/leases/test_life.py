"""A whole lease, with the operations that it asks for run on a host in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from hosts.driver.memory import MemoryHost
from portal.tenancy.gate import SYSTEM
from tests.leases.conftest import DAY, Leased
from tests.snapshots.conftest import Work
from vms.models import VM, Snapshot
from vms.services import bin, leases
from vms.services.delete import restore_vm
from vms.services.power import change_power
from vms.states import Action

Turn = Callable[[], list[str]]


@pytest.fixture
def ended(host: MemoryHost, leased: Leased, work: Work) -> Leased:
    """`web`, stopped and kept as a snapshot at the end of its lease."""
    leased.look(4 * DAY, works=False)
    leased.look(6 * DAY + timedelta(hours=1), works=False)
    for _ in range(3):
        leased.look(works=False)
        work()
    assert leased.web.lease_stage == "kept"
    return leased


def test_to_its_very_end(host: MemoryHost, ended: Leased, work: Work, turn: Turn) -> None:
    id = ended.web.pk
    assert id not in host.running
    assert Snapshot.objects.unscoped("test").get(vm=ended.web).state == "ready"
    ended.look(4 * DAY, works=False)
    work()
    assert ended.web.is_binned
    assert turn() == []
    bin.empty(ended.now + 2 * DAY)
    work()
    assert id not in host.domains
    assert not VM.objects.unscoped("test").filter(pk=id).exists()
    assert [name for _, name in host.volumes if str(id) in name] == []


def test_extended_at_the_last_moment_it_runs_again(host: MemoryHost, ended: Leased, work: Work, turn: Turn) -> None:
    leases.extend(actor=SYSTEM, vm=ended.web)
    change_power(actor=SYSTEM, vm=ended.web, action=Action.START)
    work()
    assert ended.web.pk in host.running
    assert ended.look(4 * DAY, works=False) == "running"
    assert turn() == []


def test_back_from_the_bin(host: MemoryHost, ended: Leased, work: Work, turn: Turn) -> None:
    """Off, as it was, with its disks; and it may be started, for it has a lease again."""
    ended.look(4 * DAY, works=False)
    work()
    restore_vm(actor=SYSTEM, vm=ended.web)
    work()
    assert (ended.web.status, ended.web.lease_stage) == ("stopped", "running")
    change_power(actor=SYSTEM, vm=ended.web, action=Action.START)
    work()
    assert ended.web.pk in host.running
    assert turn() == []
