"""A failed host that never comes back, and machines that their owners do not want to wait for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.utils import timezone

from hosts.connections import driver_for
from hosts.driver import memory
from hosts.driver.memory import MemoryHost
from hosts.models import Cluster, Host, HostState, StoragePool
from hosts.services.hosts import preflight, remove_host
from hosts.workflows.tokens import UNMOUNTED
from portal.core.errors import Conflict, Forbidden, Invalid
from portal.events.models import Event
from portal.operations import engine
from portal.operations.models import Operation
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM, Actor
from tests.failover.conftest import comes_back, fresh, goes_silent, powers
from tests.world import World
from vms import storage
from vms.layers import chains, unneeded
from vms.models import VM, Layer, Nic, Volume
from vms.services import failover
from vms.services.delete import delete_vm, purge_vm
from vms.services.volumes import delete_volume
from vms.services.write_off import write_off
from vms.workflows import purge

pytestmark = pytest.mark.django_db
Work = Callable[[], list[Operation]]


@pytest.fixture
def failed(world: World, host: MemoryHost) -> Host:
    """With disks that no other host reaches, and nothing answers."""
    StoragePool.objects.filter(host=world.host).update(storage_id="its own")
    values = {"state": HostState.FAILED, "failed_at": timezone.now(), "seen_at": None}
    Host.objects.filter(pk=world.host.pk).update(**values)
    goes_silent(host)
    world.host.refresh_from_db()
    return world.host


def put_into_shared_pool(volume: Volume, *hosts: Host) -> None:
    """Its files lie where all of these hosts see it, in a pool of the first one; nothing else does."""
    own = hosts[0].default_pool
    values = {"name": "nfs", "path": "/mnt/nfs", "storage_class": own.storage_class, "storage_id": "nfs"}
    pools = [StoragePool.objects.create(host=host, checked_at=timezone.now(), **values) for host in hosts]
    for host in hosts:
        driver_for(host).ensure_pool("nfs", Path("/mnt/nfs"))
    Layer.objects.filter(pk__in=[layer.pk for layer in chains([volume.layer])]).update(pool=pools[0])


class TestWritingOff:
    def test_nothing_of_it_is_held_any_more(self, world: World, failed: Host) -> None:
        world.snapshot()
        world.volume(vm=world.machines["web"])
        backup = world.backup("web")
        count = len(world.machines)
        assert write_off(actor=SYSTEM, host=failed, typed="one") == count
        for model in (VM, Volume):
            assert not model.objects.unscoped("test").exists()
        assert not Layer.objects.exists()
        assert not Nic.objects.exists()
        assert (ledger.used(failed.pk), ledger.used(world.acme.pk).get("vms")) == ({}, None)
        backup.refresh_from_db()
        assert backup.vm_id is None
        told = Event.objects.unscoped("test").filter(kind="vm.written-off")
        assert set(told.values_list("tenant", flat=True)) == {world.acme.pk, world.beta.pk}
        assert told.count() == count
        remove_host(actor=SYSTEM, host=failed)
        assert not Host.objects.filter(pk=failed.pk).exists()

    def test_what_others_can_take_over_stays(self, world: World, failed: Host, spare: Host) -> None:
        StoragePool.objects.filter(host=failed).update(storage_id="one")
        assert write_off(actor=SYSTEM, host=failed, typed="one") == 0
        assert VM.objects.unscoped("test").count() == len(world.machines)

    def test_a_volume_of_no_machine_is_another_hosts_then(self, world: World, failed: Host, spare: Host) -> None:
        """It was worked on when the host failed, and stayed."""
        volume = world.volume()
        StoragePool.objects.filter(host=failed).update(storage_id="one")
        write_off(actor=SYSTEM, host=failed, typed="one")
        layer = Volume.objects.unscoped("test").get(pk=volume.pk).layer
        assert layer.pool.host == spare

    def test_a_lost_machines_volume_on_shared_storage_is_another_hosts(
        self, world: World, host: MemoryHost, failed: Host, spare: Host, work: Work
    ) -> None:
        web = world.machines["web"]
        volume = world.volume(vm=web)
        put_into_shared_pool(volume, failed, spare)
        assert write_off(actor=SYSTEM, host=failed, typed="one") == len(world.machines)
        volume = Volume.objects.unscoped("test").get(pk=volume.pk)
        assert (volume.vm, volume.layer.pool.host) == (None, spare)
        assert ledger.held(spare.pk, volume.pk) == {"disk_gib": volume.size_gib}
        remove_host(actor=SYSTEM, host=failed)
        delete_volume(actor=SYSTEM, volume=volume)
        assert {each.state for each in work()} == {"succeeded"}
        assert not Volume.objects.unscoped("test").filter(pk=volume.pk).exists()

    def test_a_machine_that_starts_from_shared_storage_stays_without_what_is_lost(
        self, world: World, host: MemoryHost, failed: Host, spare: Host, work: Work
    ) -> None:
        web = world.machines["web"]
        volume, point = world.volume(vm=web), world.snapshot()
        boot = web.boot_volume
        put_into_shared_pool(boot, failed, spare)
        assert write_off(actor=SYSTEM, host=failed, typed="one") == len(world.machines) - 1
        assert not Volume.objects.unscoped("test").filter(pk=volume.pk).exists()
        assert Layer.objects.filter(pk=boot.layer_id).exists()
        assert boot.layer_id not in {layer.pk for layer in unneeded()}
        assert fresh(web).desired_power == "stopped"
        point.refresh_from_db()
        assert point.state == "broken", "a disk of it is lost"
        assert storage.elsewhere_of([fresh(web)]) == {web.pk: {spare.pk}}
        told = Event.objects.unscoped("test").filter(kind="vm.disks-written-off")
        assert [event.target_id for event in told] == [web.pk]
        failover.recover_waiting()
        assert fresh(web).host == spare
        remove_host(actor=SYSTEM, host=failed)

    def test_what_a_host_of_another_cluster_sees_is_not_lost(self, world: World, failed: Host, spare: Host) -> None:
        StoragePool.objects.filter(host=failed).update(storage_id="one")
        Host.objects.filter(pk=spare.pk).update(cluster=Cluster.objects.create(slug="other", name="Other"))
        assert write_off(actor=SYSTEM, host=failed, typed="one", machines=0) == 0
        assert VM.objects.unscoped("test").count() == len(world.machines)
        assert unneeded() == []

    @pytest.mark.parametrize("trouble", ["error", "silent", "failed"])
    def test_what_nobody_sees_for_the_moment_is_not_lost(
        self, world: World, failed: Host, spare: Host, trouble: str
    ) -> None:
        StoragePool.objects.filter(host=failed).update(storage_id="one")
        if trouble == "error":
            StoragePool.objects.filter(host=spare).update(error=UNMOUNTED)
        elif trouble == "silent":
            Host.objects.filter(pk=spare.pk).update(seen_at=None)
        else:
            Host.objects.filter(pk=spare.pk).update(state=HostState.FAILED)
        with pytest.raises(Conflict, match="spare shares its storage berth") as refused:
            write_off(actor=SYSTEM, host=failed, typed="one")
        assert refused.value.code == "storage_unseen"
        assert VM.objects.unscoped("test").count() == len(world.machines)

    def test_not_more_than_was_said_before(self, world: World, failed: Host) -> None:
        with pytest.raises(Conflict, match="would be lost, and not 1") as refused:
            write_off(actor=SYSTEM, host=failed, typed="one", machines=1)
        assert refused.value.code == "changed"
        admin, address = world.caller("admin"), "hosts/one/actions/write-off"
        answer = admin.post(address, {"name": "one", "machines": 1})
        assert (answer.status_code, answer.json()["code"]) == (409, "changed")
        assert admin.post(address, {"name": "one", "machines": "many"}).status_code == 400
        assert VM.objects.unscoped("test").count() == len(world.machines)
        count = len(world.machines)
        assert write_off(actor=SYSTEM, host=failed, typed="one", machines=count) == count

    def test_only_a_failed_one_by_its_name_with_nothing_under_way(self, world: World, failed: Host) -> None:
        with pytest.raises(Invalid):
            write_off(actor=SYSTEM, host=failed, typed="two")
        with pytest.raises(Forbidden):
            write_off(actor=Actor(world.people["auditor"], provider_role="auditor"), host=failed, typed="one")
        preflight(actor=SYSTEM, host=failed)
        with pytest.raises(Conflict, match="under way"):
            write_off(actor=SYSTEM, host=failed, typed="one")
        Host.objects.filter(pk=failed.pk).update(state=HostState.ENABLED)
        with pytest.raises(Conflict, match="not failed"):
            write_off(actor=SYSTEM, host=failed, typed="one")
        assert VM.objects.unscoped("test").count() == len(world.machines)


class TestDeleting:
    def test_its_rows_go_at_once_and_its_files_when_the_host_is_back(
        self, world: World, host: MemoryHost, failed: Host, work: Work
    ) -> None:
        web = world.machines["web"]
        files = {("berth", web.boot_volume.layer.file_name), ("berth", web.seed_volume)}
        assert files <= host.volumes.keys()
        delete_vm(actor=SYSTEM, vm=fresh(web), purge=True)
        (operation,) = work()
        assert operation.state == "succeeded"
        assert not VM.objects.unscoped("test").filter(pk=web.pk).exists()
        assert (ledger.held(failed.pk, web.pk), ledger.held(world.acme.pk, web.pk)) == ({}, {})
        assert files <= host.volumes.keys()
        comes_back(host)
        failover.clear(actor=SYSTEM, host=failed)
        assert work()[-1].state == "succeeded"
        assert web.pk not in powers(failed)
        assert not files & host.volumes.keys()
        others = {vm.pk for vm in world.machines.values()} - {web.pk}
        assert memory.host(failed.uri).domains.keys() == others

    def test_into_the_bin_and_out_of_it_for_good(
        self, world: World, host: MemoryHost, failed: Host, work: Work
    ) -> None:
        web = world.machines["web"]
        delete_vm(actor=SYSTEM, vm=fresh(web))
        work()
        assert fresh(web).is_binned
        purge_vm(actor=SYSTEM, vm=fresh(web))
        work()
        assert not VM.objects.unscoped("test").filter(pk=web.pk).exists()

    def test_a_host_that_comes_back_in_the_middle_is_asked(
        self, world: World, host: MemoryHost, failed: Host, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its guest may run there again."""
        web = world.machines["web"]
        disk = web.boot_volume.layer.file_name

        def come_back(moment: str, step: str) -> None:
            if (moment, step) == ("before", "undefine"):
                host.faults.clear()
                Host.objects.filter(pk=failed.pk).update(state=HostState.CORDONED)

        monkeypatch.setattr("portal.operations.engine.step_hook", come_back)
        delete_vm(actor=SYSTEM, vm=fresh(web), purge=True)
        assert [each.state for each in work()] == ["succeeded"]
        assert web.pk not in powers(failed)
        assert ("berth", disk) not in host.volumes

    def test_a_host_that_is_cleared_in_the_middle(
        self, world: World, host: MemoryHost, failed: Host, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before the machine's row is gone; the purge has noted already what the host keeps."""
        web = world.machines["web"]
        files = {("berth", web.boot_volume.layer.file_name), ("berth", web.seed_volume)}

        def clear(moment: str, step: str) -> None:
            if (moment, step) == ("after", "volumes"):
                monkeypatch.setattr(engine, "step_hook", None)
                comes_back(host)
                engine.run(failover.clear(actor=SYSTEM, host=failed).pk)

        monkeypatch.setattr(engine, "step_hook", clear)
        delete_vm(actor=SYSTEM, vm=fresh(web), purge=True)
        assert {each.state for each in work()} == {"succeeded"}
        assert Host.objects.get(pk=failed.pk).state == HostState.CORDONED
        assert web.pk not in powers(failed)
        assert not files & host.volumes.keys()

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_a_machine_that_is_deleted_while_its_host_is_cleared(
        self, world: World, host: MemoryHost, failed: Host, work: Work, monkeypatch: pytest.MonkeyPatch, moment: str
    ) -> None:
        """The host has been looked at already where it is `after`: it is cleared once more."""
        web = world.machines["web"]
        files = {("berth", web.boot_volume.layer.file_name), ("berth", web.seed_volume)}

        def delete(now: str, step: str) -> None:
            if (now, step) == (moment, "clear"):
                monkeypatch.setattr(engine, "step_hook", None)
                engine.run(delete_vm(actor=SYSTEM, vm=fresh(web), purge=True).pk)

        comes_back(host)
        monkeypatch.setattr(engine, "step_hook", delete)
        failover.clear(actor=SYSTEM, host=failed)
        work()
        was_missed = moment == "after"
        assert Host.objects.get(pk=failed.pk).has_failed is was_missed
        if was_missed:
            failover.clear(actor=SYSTEM, host=failed)
            work()
        assert Host.objects.get(pk=failed.pk).state == HostState.CORDONED
        assert web.pk not in powers(failed)
        assert not files & host.volumes.keys()

    @pytest.mark.parametrize("is_well", [True, False])
    def test_another_host_that_sees_its_files_deletes_them(
        self, world: World, host: MemoryHost, failed: Host, spare: Host, work: Work, is_well: bool
    ) -> None:
        """The failed one may never come back. Where the other one has lost its mount, nobody sees them now."""
        web = world.machines["web"]
        files = {("berth", web.boot_volume.layer.file_name), ("berth", web.seed_volume)}
        StoragePool.objects.filter(host=failed).update(storage_id="one")
        StoragePool.objects.filter(host=spare).update(error="" if is_well else UNMOUNTED)
        delete_vm(actor=SYSTEM, vm=fresh(web), purge=True)
        assert [each.state for each in work()] == ["succeeded"]
        assert (files & host.volumes.keys()) == (set() if is_well else files)
        left = purge.left_on(failed)
        assert {tuple(file) for file in left[web.pk]} == (set() if is_well else files)
