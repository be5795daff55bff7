"""Restores and deletions of backups to their end, on a host in memory, whatever stumbles or is cancelled on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from hosts.connections import driver_for
from hosts.driver import errors
from hosts.driver.memory import MemoryHost
from hosts.driver.types import DiskSpec, PowerState
from portal.operations import engine, services
from portal.operations.models import Operation, OperationStep
from portal.operations.states import State, StepState
from portal.tenancy.gate import SYSTEM
from tests.audit.mirror import put
from tests.audit.test_audit import guest
from tests.reconcile.conftest import fresh
from tests.reconcile.test_clone import worked
from tests.world import World
from vms.design import domain_spec
from vms.models import VM, Backup, BackupDisk, Layer, Snapshot, SnapshotState, Volume
from vms.services import backups, snapshots

pytestmark = pytest.mark.django_db(transaction=True)
ERRORS = [errors.NoSpace("no"), errors.DriverError("odd"), errors.Unreachable("away")]


@pytest.fixture
def vm(world: World, host: MemoryHost) -> VM:
    """With two disks."""
    vm = world.machines["web"]
    layer = Layer.objects.create(pool=world.host.default_pool, size_gib=3)
    Volume.objects.create(tenant=vm.tenant, vm=vm, name="data", target="vdb", size_gib=3, layer=layer)
    driver, target = driver_for(world.host), world.target()
    driver.destroy(vm.pk)
    put(fresh(vm), world.host)
    driver.ensure_pool(target.pool_name, Path(target.path))
    driver.upload(target.pool_name, target.marker, target.token.encode(), "raw")
    return fresh(vm)


def back_up(vm: VM) -> Backup:
    backup, operation = backups.back_up(actor=SYSTEM, vm=fresh(vm))
    assert worked(operation).status == "succeeded", operation.error
    return Backup.objects.unscoped("test").get(pk=backup.pk)


def until_held(operation: Operation, step: str) -> None:
    """It has begun the step, which stumbled once; then somebody asks for its end, and its time is over."""
    engine.run(operation.pk)
    assert operation.steps.get(name=step).state == StepState.RUNNING
    rows = Operation.objects.unscoped("test").filter(pk=operation.pk)
    services.cancel(actor=SYSTEM, operation=rows.get())
    rows.update(deadline_at=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_restore_that_has_deleted_an_old_disk_goes_on(
    vm: VM, host: MemoryHost, monkeypatch: pytest.MonkeyPatch, error: errors.DriverError
) -> None:
    from hosts.driver.memory import MemoryDriver

    backup, old = back_up(vm), {volume.layer.file_name for volume in vm.volumes.all()}
    _, operation = backups.restore(actor=SYSTEM, backup=backup)
    deleted, delete = [], MemoryDriver.delete_volume

    def second_stumbles(self: MemoryDriver, pool: str, name: str) -> None:
        if deleted and name in old:
            raise error
        deleted.append(name)
        delete(self, pool, name)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryDriver, "delete_volume", second_stumbles)
        until_held(operation, "replaced")
    assert len(deleted) == 1
    assert worked(operation).state == State.SUCCEEDED
    now = {volume.target: volume.layer.file_name for volume in fresh(vm).volumes.all()}
    assert {disk.target: disk.volume for disk in host.running[vm.pk].values()}.items() >= now.items()
    assert all(("berth", name) in host.volumes for name in now.values())
    assert not old & {name for _, name in host.volumes}


# -- of volumes that were plugged elsewhere since ----------------------------------------------------------------


def disk(vm: VM, name: str, target: str) -> Volume:
    """Another volume of the machine, or of none; of no definition yet."""
    layer = Layer.objects.create(pool=vm.host.default_pool, size_gib=2)
    driver_for(vm.host).ensure_volume(layer.pool.name, layer.file_name, layer.size_bytes)
    return Volume.objects.create(tenant=vm.tenant, vm=vm, name=name, target=target, size_gib=2, layer=layer)


def data(vm: VM) -> Volume:
    return Volume.objects.unscoped("test").get(tenant=vm.tenant, name="data")


def plugged(vm: VM, **places: str) -> None:
    """The volumes of these names are the machine's disks there; it has been off and on since."""
    for name, target in places.items():
        Volume.objects.unscoped("test").filter(name=name).update(target=target)
    driver = driver_for(vm.host)
    driver.destroy(vm.pk)
    driver.define(domain_spec(fresh(vm), vm.host, 1))
    driver.start(vm.pk)


def restored(vm: VM, host: MemoryHost, backup: Backup) -> None:
    """Each disk of the guest is the file that its row says, and is there; so is that of every other volume."""
    _, operation = backups.restore(actor=SYSTEM, backup=backup)
    assert worked(operation).state == State.SUCCEEDED
    wanted = {volume.target: volume.layer.file_name for volume in fresh(vm).volumes.all()}
    spec, _ = host.domains[vm.pk]
    assert {disk.target: disk.volume for disk in spec.disks} == wanted
    assert {disk.target: disk.volume for disk in host.running[vm.pk].values()} == wanted
    layers = Layer.objects.filter(volume__isnull=False, volume__vm__in=[vm.pk, None])
    assert {layer.file_name for layer in layers} <= {name for _, name in host.volumes}


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_what_it_was_is_kept_as_a_snapshot(vm: VM, host: MemoryHost, is_cancelled: bool) -> None:
    backup, old = back_up(vm), {volume.target: volume.layer.file_name for volume in fresh(vm).volumes.all()}
    _, operation = backups.restore(actor=SYSTEM, backup=backup, safety=True)
    if is_cancelled:
        services.cancel(actor=SYSTEM, operation=operation)
        assert worked(operation).state == State.CANCELLED
        assert not Snapshot.objects.unscoped("test").exists()
        assert {volume.target: volume.layer.file_name for volume in fresh(vm).volumes.all()} == old
        return
    assert worked(operation).state == State.SUCCEEDED
    kept = Snapshot.objects.unscoped("test").get()
    assert (kept.state, kept.is_safety, kept.taken_at is not None) == (SnapshotState.READY, True, True)
    assert {disk.layer.file_name for disk in kept.disks.all()} == set(old.values())
    assert {("berth", name) for name in old.values()} <= set(host.volumes)
    back = snapshots.revert(actor=SYSTEM, snapshot=kept)
    assert worked(back).state == State.SUCCEEDED
    for volume in fresh(vm).volumes.all():
        assert volume.layer.parent is not None
        assert volume.layer.parent.file_name == old[volume.target]


@pytest.mark.parametrize("is_taken", [True, False], ids=["another in its place", "nothing in its place"])
def test_a_volume_is_restored_where_it_is_now(vm: VM, host: MemoryHost, is_taken: bool) -> None:
    backup, old = back_up(vm), data(vm).layer.file_name
    if is_taken:
        other = disk(vm, "other", "vdd").layer.file_name
    plugged(vm, data="vdc", **({"other": "vdb"} if is_taken else {}))
    restored(vm, host, backup)
    now = {disk.target: disk.volume for disk in host.running[vm.pk].values()}
    assert now["vdc"] not in (old, "")
    assert ("berth", old) not in host.volumes
    assert not is_taken or now["vdb"] == other


@pytest.mark.parametrize("place", ["nowhere", "another machine", "gone"])
def test_a_volume_that_is_not_the_machines_any_more_stays_as_it_is(
    vm: VM, host: MemoryHost, world: World, place: str
) -> None:
    backup, mine = back_up(vm), data(vm)
    other = disk(vm, "other", "vdc").layer.file_name
    if place == "gone":
        mine.delete()
        mine.layer.delete()
        driver_for(vm.host).delete_volume("berth", mine.layer.file_name)
    else:
        there = world.machines["cold"] if place == "another machine" else None
        Volume.objects.unscoped("test").filter(pk=mine.pk).update(vm=there, target="vdb" if there else "")
    plugged(vm, other="vdb")
    restored(vm, host, backup)
    assert host.running[vm.pk]["vdb"].volume == other
    assert (("berth", mine.layer.file_name) in host.volumes) == (place != "gone")


def test_a_file_that_a_machine_still_has_is_not_deleted_with_those_that_are_replaced(
    vm: VM, host: MemoryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup, old, boot = back_up(vm), data(vm).layer.file_name, vm.boot_volume.layer.file_name
    _, operation = backups.restore(actor=SYSTEM, backup=backup)

    def plug_by_hand(moment: str, step: str) -> None:
        if (moment, step) == ("before", "replaced"):
            host.running[vm.pk]["vdz"] = DiskSpec("berth", old, "vdz")

    monkeypatch.setattr(engine, "step_hook", plug_by_hand)
    assert worked(operation).state == State.SUCCEEDED
    assert ("berth", old) in host.volumes
    assert ("berth", boot) not in host.volumes


def test_a_deletion_that_has_deleted_a_file_goes_on(vm: VM, host: MemoryHost, monkeypatch: pytest.MonkeyPatch) -> None:
    from hosts.driver.memory import MemoryDriver

    backup = back_up(vm)
    names = {disk.file_name for disk in backup.disks.all()}
    operation = backups.delete(actor=SYSTEM, backup=backup)
    deleted, delete = [], MemoryDriver.delete_volume

    def second_stumbles(self: MemoryDriver, pool: str, name: str) -> None:
        if deleted:
            raise errors.DriverError("odd")
        deleted.append(name)
        delete(self, pool, name)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryDriver, "delete_volume", second_stumbles)
        until_held(operation, "files")
    assert worked(operation).state == State.SUCCEEDED
    assert not names & {name for _, name in host.volumes}
    assert not Backup.objects.unscoped("test").filter(pk=backup.pk).exists()


def test_of_a_target_that_is_not_mounted_nothing_is_deleted(vm: VM, host: MemoryHost) -> None:
    backup = back_up(vm)
    before = dict(host.volumes)
    away = {own: host.volumes.pop(own) for own in list(host.volumes) if own[0] == backup.target.pool_name}
    for ask in (backups.delete, backups.verify):
        failed = worked(ask(actor=SYSTEM, backup=backup))
        assert failed.error is not None
        assert failed.error["code"] == "target_unreachable"
        assert "Ask an administrator to mount" in failed.error["detail"]
    left = Backup.objects.unscoped("test").get(pk=backup.pk)
    assert (left.damage, left.verified_at) == ("", None)
    host.volumes.update(away)
    assert host.volumes == before
    assert worked(backups.delete(actor=SYSTEM, backup=left)).state == State.SUCCEEDED
    assert not {disk.file_name for disk in backup.disks.all()} & {name for _, name in host.volumes}


def test_a_verification_whose_target_goes_away_in_the_middle_finds_no_damage(
    vm: VM, host: MemoryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hosts.driver.memory import MemoryDriver

    backup, away, download = back_up(vm), {}, MemoryDriver.download

    def unmount_after_the_token(self: MemoryDriver, pool: str, name: str, *rest: Any) -> int:
        if name != backup.target.marker:
            away.update({own: host.volumes.pop(own) for own in list(host.volumes) if own[0] == pool})
        return download(self, pool, name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryDriver, "download", unmount_after_the_token)
        failed = worked(backups.verify(actor=SYSTEM, backup=backup))
    assert failed.error is not None
    assert failed.error["code"] == "target_unreachable"
    backup.refresh_from_db(from_queryset=Backup.objects.unscoped("test"))
    assert (backup.damage, backup.verified_at) == ("", None)
    host.volumes.update(away)
    assert worked(backups.verify(actor=SYSTEM, backup=backup)).state == State.SUCCEEDED


def test_a_deletion_whose_target_goes_away_in_the_middle_waits_for_it(
    vm: VM, host: MemoryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = back_up(vm)
    operation, away = backups.delete(actor=SYSTEM, backup=backup), {}

    def unmount(moment: str, step: str) -> None:
        if (moment, step) == ("before", "files"):
            away.update({own: host.volumes.pop(own) for own in list(host.volumes) if own[0] == backup.target.pool_name})

    with monkeypatch.context() as patch:
        patch.setattr(engine, "step_hook", unmount)
        engine.run(operation.pk)
    waiting = Operation.objects.unscoped("test").get(pk=operation.pk)
    assert waiting.is_active
    assert "is not mounted" in waiting.waiting_for
    host.volumes.update(away)
    assert worked(operation).state == State.SUCCEEDED
    assert not {disk.file_name for disk in backup.disks.all()} & {name for _, name in host.volumes}


def test_a_target_out_of_reach_fails_before_anything_is_deleted(vm: VM, host: MemoryHost) -> None:
    backup = back_up(vm)
    operation = backups.delete(actor=SYSTEM, backup=backup)
    backup.target.reaches.update(is_reached=False)
    assert worked(operation).error["code"] == "target_unreachable"
    assert Backup.objects.unscoped("test").get(pk=backup.pk).damage == ""


def test_one_of_which_a_file_is_gone_is_damaged_and_nothing_stands_on_it(vm: VM, host: MemoryHost) -> None:
    """As a journal that turned round in an earlier version has left it."""
    backup = back_up(vm)
    operation = backups.delete(actor=SYSTEM, backup=backup)
    OperationStep.objects.filter(operation=operation, name="files").update(state=StepState.FAILED)
    OperationStep.objects.filter(operation=operation).exclude(name="files").update(state=StepState.DONE)
    Operation.objects.unscoped("test").filter(pk=operation.pk).update(state=State.UNWINDING)
    first = backup.disks.all()[0]
    driver_for(vm.host).delete_volume(backup.target.pool_name, first.file_name)
    assert worked(operation).state == State.FAILED
    left = Backup.objects.unscoped("test").get(pk=backup.pk)
    assert f"the file of disk {first.target} is missing" in left.damage
    assert back_up(vm).why_full == "Full, because the last one is damaged."


def test_one_that_is_whole_is_there_as_before(vm: VM, host: MemoryHost) -> None:
    first = back_up(vm)
    assert back_up(vm).bytes_read == 2 << 20  # a MiB of each disk, though nobody looked while it was read
    operation = backups.delete(actor=SYSTEM, backup=first)
    services.cancel(actor=SYSTEM, operation=operation)
    assert worked(operation).state == State.CANCELLED
    assert Backup.objects.unscoped("test").get(pk=first.pk).damage == ""


def test_what_takes_over_from_a_deleted_one_is_let_be(vm: VM, host: MemoryHost, turn: Callable[[], list[str]]) -> None:
    """The host's helper is no operation's at first sight: it goes by the id of the file that takes over."""
    first, second = back_up(vm), back_up(vm)
    below, heir = first.disks.get(is_boot=True), second.disks.get(is_boot=True)
    Backup.objects.unscoped("test").filter(pk=second.pk).update(parent=first)
    BackupDisk.objects.filter(pk=heir.pk).update(parent=below)
    disk = DiskSpec(first.target.pool_name, heir.file_name, "vda")
    helper = replace(guest("", disks=(disk,)), uuid=heir.pk, name=f"berth-absorb-{heir.pk}")
    host.domains[helper.uuid] = (helper, PowerState.PAUSED)
    operation = backups.delete(actor=SYSTEM, backup=first)
    turn(), turn()
    assert helper.uuid in host.domains
    operation.delete()
    turn()
    assert helper.uuid not in host.domains


@pytest.mark.parametrize("is_cancelled", [False, True])
@pytest.mark.parametrize("step", ["hand-over", "sums"])
def test_a_target_that_goes_away_in_the_middle_of_a_deletion_is_waited_for(
    vm: VM, host: MemoryHost, monkeypatch: pytest.MonkeyPatch, step: str, is_cancelled: bool
) -> None:
    first, second = back_up(vm), back_up(vm)
    assert second.parent == first
    operation = backups.delete(actor=SYSTEM, backup=first)
    token = (first.target.pool_name, first.target.marker)
    kept = host.volumes[token]

    def goes_away(moment: str, name: str) -> None:
        if (moment, name) == ("before", step):
            host.volumes.pop(token, None)

    monkeypatch.setattr(engine, "step_hook", goes_away)
    engine.run(operation.pk)
    rows = Operation.objects.unscoped("test").filter(pk=operation.pk)
    assert (rows.get().state, first.target.name in rows.get().waiting_for) == (State.QUEUED, True)
    monkeypatch.setattr(engine, "step_hook", None)
    if is_cancelled:
        services.cancel(actor=SYSTEM, operation=rows.get())
    for _ in range(30):  # more often than any undo is tried that fails
        rows.update(not_before=None)
        engine.run(operation.pk)
    assert rows.get().state == (State.UNWINDING if is_cancelled else State.QUEUED)
    assert first.target.name in rows.get().waiting_for
    host.volumes[token] = kept
    assert worked(rows.get()).state == (State.CANCELLED if is_cancelled else State.SUCCEEDED)
    left = Backup.objects.unscoped("test").get(pk=second.pk)
    assert (left.damage, left.state) == ("", "ready")
    assert Backup.objects.unscoped("test").filter(pk=first.pk).exists() == is_cancelled
