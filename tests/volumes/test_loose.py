"""Volumes of no machine on storage that two hosts see: they belong to neither, and are held of one."""

from __future__ import annotations

import pytest

from hosts.models import Host
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM
from tests.audit.mirror import beside
from tests.volumes.conftest import Bench
from vms import loose
from vms.models import VM
from vms.services.migrate import migrate_vm

pytestmark = pytest.mark.django_db


def on(host: Host, vm: VM) -> VM:
    return VM.objects.unscoped("test").select_related("host__cluster").get(pk=vm.pk, host=host)


def test_one_is_attached_to_a_machine_of_any_host_that_sees_it(bench: Bench) -> None:
    volume = bench.create()
    here, there = bench.world.host, beside(bench.world)
    bench.run(str(migrate_vm(actor=SYSTEM, vm=on(here, bench.web), host=there.name).pk))
    volume = bench.act(volume, "attach", {"vm": "web"})
    assert volume.vm == on(there, bench.web)
    assert volume.layer.pool.host_id == there.pk
    assert ledger.held(here.pk, volume.pk) == {}
    assert ledger.held(there.pk, volume.pk) == {"disk_gib": 2}
    assert bench.is_clean()


def test_those_on_shared_storage_leave_with_the_machines(bench: Bench) -> None:
    volume = bench.create()
    here, there = bench.world.host, beside(bench.world)
    loose.leave(here)
    volume = bench.volume(str(volume.pk))
    assert volume.layer.pool.host_id == there.pk
    assert ledger.held(here.pk, volume.pk) == {}
    assert ledger.held(there.pk, volume.pk) == {"disk_gib": 2}
    assert bench.is_clean()


@pytest.mark.parametrize("change", ["unshared", "cordoned", "busy"])
def test_others_stay(bench: Bench, change: str) -> None:
    volume = bench.create()
    here, there = bench.world.host, beside(bench.world, is_shared=change != "unshared")
    if change == "cordoned":
        Host.objects.filter(pk=there.pk).update(state="cordoned")
    if change == "busy":
        bench.delete(f"/volumes/{volume.pk}")
    loose.leave(here)
    assert bench.volume(str(volume.pk)).layer.pool.host_id == here.pk
    assert ledger.held(here.pk, volume.pk) == {"disk_gib": 2}
    assert loose.staying([here])[here.pk] == (change == "unshared")
