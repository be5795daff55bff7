"""Snapshots over rows, ledger and a host in memory: what is there after each step, and that the audit finds nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone

from hosts.connections import driver_for
from hosts.driver import errors
from hosts.driver.memory import MemoryDriver, MemoryHost
from hosts.driver.types import FreshLayer, Merge, MergeFacts
from hosts.models import Host, HostState
from portal.core.errors import Conflict, Invalid
from portal.operations import engine
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.workflow import StepFailed
from portal.quotas import ledger
from portal.quotas.models import Quota
from portal.tenancy.gate import SYSTEM, Actor
from tests.snapshots.conftest import Take, Work, again, kept
from tests.world import World
from vms.models import VM, Consistency, Layer, Power, Schedule, ScheduleKind, Snapshot, SnapshotState, Volume
from vms.scheduling import makers
from vms.services import power, snapshots
from vms.services.clone import clone_vm
from vms.services.delete import delete_vm
from vms.states import Action
from vms.workflows.clear_up import clear_up_all
from vms.workflows.snapshot_steps import end_or_hide, hold

Turn = Callable[[], list[str]]


@pytest.fixture
def web(world: World, host: MemoryHost) -> VM:
    return world.machines["web"]


def chain(vm: VM) -> list[str]:
    """The files of its boot volume, by the rows, from the one that is written to down."""
    layer: Layer | None = Volume.objects.unscoped("test").get(vm=vm, is_boot=True).layer
    found = []
    while layer is not None:
        found.append(layer.file_name)
        layer = layer.parent
    return found


def on_host(vm: VM, host: MemoryHost) -> list[str]:
    """The same by the host: what the definition and the guest name, and what that stands on."""
    spec, _ = host.domains[vm.pk]
    name: str | None = spec.disks[0].volume
    if vm.pk in host.running:
        assert host.running[vm.pk]["vda"].volume == name
    found = []
    while name is not None and ("berth", name) in host.volumes and not name.startswith("image-"):
        found.append(name)
        name = host.volumes["berth", name].backing
    return found


def after_a_while() -> None:
    """The clock looks once a machine was quiet for a minute."""
    Operation.objects.unscoped("test").exclude(finished_at=None).update(finished_at=timezone.now() - timedelta(hours=1))
    clear_up_all()


def agree(vm: VM, host: MemoryHost, turn: Turn, length: int) -> None:
    assert chain(vm) == on_host(vm, host)
    assert len(chain(vm)) == length
    files = {name for _, name in host.volumes if name.endswith((".qcow2", ".memory")) and not name.startswith("image-")}
    memories = [each.memory_volume for each in Snapshot.objects.unscoped("test") if each.has_memory]
    assert files == {layer.file_name for layer in Layer.objects.all()} | set(memories)
    turn()
    assert turn() == []


@pytest.mark.parametrize("machine", ["web", "paused", "cold"])
def test_a_life(world: World, host: MemoryHost, turn: Turn, take: Take, owner: Actor, work: Work, machine: str) -> None:
    vm = world.machines[machine]
    before = again(vm).observed_power
    snapshot = take(vm)
    assert (snapshot.state, snapshot.size_gib) == (SnapshotState.READY, 1)
    assert snapshot.consistency == (Consistency.OFF if machine == "cold" else Consistency.CRASH)
    assert again(vm).current_snapshot == snapshot
    assert ledger.used(world.acme.pk)["snapshots"] == 1
    agree(vm, host, turn, 2)
    snapshots.revert(actor=owner, snapshot=snapshot, safety=True)
    (operation,) = work()
    assert operation.state == "succeeded"
    safety = Snapshot.objects.unscoped("test").get(is_safety=True)
    assert safety.parent == snapshot
    assert safety.state == SnapshotState.READY
    assert again(vm).current_snapshot == snapshot
    after = Power.STOPPED if before == Power.STOPPED else Power.RUNNING
    assert again(vm).observed_power == again(vm).desired_power == after
    agree(vm, host, turn, 2)
    snapshots.delete_snapshot(actor=owner, snapshot=kept(safety))
    work()
    agree(vm, host, turn, 2)
    snapshots.delete_snapshot(actor=owner, snapshot=kept(snapshot))
    (operation,) = work()
    assert operation.state == "succeeded"
    assert not Snapshot.objects.unscoped("test").exists()
    assert again(vm).current_snapshot is None
    assert "snapshots" not in ledger.used(world.acme.pk)
    agree(vm, host, turn, 1)


def test_without_a_safety_point_what_it_was_goes(
    web: VM,
    host: MemoryHost,
    turn: Turn,
    take: Take,
    owner: Actor,
    work: Work,
    django_capture_on_commit_callbacks: object,
) -> None:
    snapshot = take(web)
    discarded = chain(web)[0]
    snapshots.revert(actor=owner, snapshot=snapshot)
    work()
    assert ("berth", discarded) in host.volumes
    after_a_while()  # as the clock does where the worker was cut off before it did
    work()
    assert ("berth", discarded) not in host.volumes
    assert [each.name for each in Snapshot.objects.unscoped("test")] == [snapshot.name]
    agree(web, host, turn, 2)


def test_the_middle_of_a_tree_is_deleted(
    web: VM, host: MemoryHost, turn: Turn, take: Take, owner: Actor, work: Work
) -> None:
    one, two, three = take(web, "one"), take(web, "two"), take(web, "three")
    assert [one.parent, two.parent, three.parent] == [None, one, two]
    agree(web, host, turn, 4)
    snapshots.delete_snapshot(actor=owner, snapshot=two)
    work()
    assert kept(three).parent == one
    agree(web, host, turn, 3)


def test_below_a_branch_it_stays_out_of_sight_until_it_can_go(
    world: World, web: VM, host: MemoryHost, turn: Turn, take: Take, owner: Actor, work: Work
) -> None:
    one = take(web, "one")
    two = take(web, "two")
    snapshots.revert(actor=owner, snapshot=one)
    work()
    after_a_while()
    work()
    three = take(web, "three")
    snapshots.delete_snapshot(actor=owner, snapshot=kept(one))
    work()
    assert kept(one).state == SnapshotState.GONE
    assert kept(two).parent is kept(three).parent is None
    assert ledger.used(world.acme.pk)["snapshots"] == 2
    agree(web, host, turn, 3)
    after_a_while()
    assert work() == []
    snapshots.delete_snapshot(actor=owner, snapshot=kept(two))
    work()
    assert {each.name for each in Snapshot.objects.unscoped("test")} == {"three"}
    agree(web, host, turn, 2)


def test_memory_is_kept_and_comes_back(
    web: VM, host: MemoryHost, turn: Turn, take: Take, owner: Actor, work: Work
) -> None:
    snapshot = take(web, memory=True)
    assert snapshot.has_memory
    assert snapshot.consistency == Consistency.MEMORY
    agree(web, host, turn, 2)
    driver_for(again(web).host).destroy(web.pk)
    turn()
    VM.objects.unscoped("test").filter(pk=web.pk).update(desired_power=Power.STOPPED, observed_power=Power.STOPPED)
    snapshots.revert(actor=owner, snapshot=snapshot, safety=True)
    host.calls.clear()
    (operation,) = work()
    assert operation.state == "succeeded"
    assert "restore" in host.calls
    assert again(web).desired_power == again(web).observed_power == Power.RUNNING
    for each in Snapshot.objects.unscoped("test"):
        snapshots.delete_snapshot(actor=owner, snapshot=kept(each))
        work()
    agree(web, host, turn, 1)


def test_no_power_is_cut_for_a_memory_that_is_missing(
    web: VM, host: MemoryHost, take: Take, owner: Actor, work: Work
) -> None:
    snapshot, before = take(web, memory=True), chain(web)
    assert snapshot.memory_pool is not None
    driver_for(again(web).host).delete_volume(snapshot.memory_pool.name, snapshot.memory_volume)
    snapshots.revert(actor=owner, snapshot=snapshot, safety=True)
    host.calls.clear()
    (operation,) = work()
    assert operation.error is not None
    assert operation.error["code"] == "memory_missing"
    assert "destroy" not in host.calls
    assert chain(web) == before


def test_of_another_size_it_starts_without_its_memory(
    web: VM, host: MemoryHost, take: Take, owner: Actor, work: Work
) -> None:
    snapshot = take(web, memory=True)
    VM.objects.unscoped("test").filter(pk=web.pk).update(vcpus=web.vcpus + 1)
    snapshots.revert(actor=owner, snapshot=kept(snapshot), safety=True)
    host.calls.clear()
    work()
    assert "restore" not in host.calls
    assert again(web).observed_power == Power.RUNNING


@pytest.mark.parametrize("step", ["freeze", "volume", "define"])
def test_one_that_fails_leaves_nothing(
    world: World, web: VM, host: MemoryHost, turn: Turn, owner: Actor, work: Work, step: str
) -> None:
    before = chain(web)
    host.fail_next(step, errors.Unsupported("no"))
    snapshots.take_snapshot(actor=owner, vm=again(web), name="one", memory=True)
    (operation,) = work()
    assert operation.state == "failed"
    assert chain(web) == before
    assert not Snapshot.objects.unscoped("test").exists()
    assert "snapshots" not in ledger.used(world.acme.pk)
    agree(web, host, turn, 1)


def test_a_host_that_fails_after_the_freeze_loses_nothing(
    web: VM, host: MemoryHost, owner: Actor, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guest has written to the new layer since, so the machine starts from that one elsewhere."""
    (below,) = chain(web)

    def fail(moment: str, step: str) -> None:
        if (moment, step) == ("before", "measure"):
            Host.objects.filter(pk=web.host_id).update(state=HostState.FAILED, failed_at=timezone.now())
            raise StepFailed("injected", "no")

    monkeypatch.setattr(engine, "step_hook", fail)
    snapshots.take_snapshot(actor=owner, vm=again(web), name="one")
    (operation,) = work()
    assert operation.state == "failed"
    assert chain(web) == on_host(web, host)
    assert chain(web)[1:] == [below]
    assert Snapshot.objects.unscoped("test").get().state == SnapshotState.GONE


def test_a_cancel_while_memory_is_written_ends_that(
    web: VM, host: MemoryHost, turn: Turn, owner: Actor, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, operation = snapshots.take_snapshot(actor=owner, vm=again(web), name="one", memory=True)

    def writing(self: MemoryDriver, *machine: object, progress: Callable[[float], None], **more: object) -> bool:
        operations.cancel(actor=owner, operation=operation)
        progress(0.5)
        raise AssertionError("it was cancelled")

    monkeypatch.setattr(MemoryDriver, "freeze", writing)
    assert [each.state for each in work()] == ["cancelled"]
    assert host.calls.count("end_freeze") == 1
    agree(web, host, turn, 1)


@pytest.mark.parametrize("step", ["ensure_overlay", "define", "start"])
def test_a_revert_that_fails_leaves_it_as_it_was(
    web: VM, host: MemoryHost, turn: Turn, take: Take, owner: Actor, work: Work, step: str
) -> None:
    snapshot = take(web)
    before = chain(web)
    host.fail_next(step, errors.Unsupported("no"))
    snapshots.revert(actor=owner, snapshot=snapshot, safety=True)
    (operation,) = work()
    assert operation.state == "failed"
    assert chain(web) == before
    assert again(web).observed_power == Power.RUNNING
    assert Snapshot.objects.unscoped("test").count() == 1
    agree(web, host, turn, 2)


def test_one_whose_deletion_failed_is_broken_and_can_be_deleted_again(
    web: VM, host: MemoryHost, turn: Turn, take: Take, owner: Actor, work: Work
) -> None:
    snapshot = take(web)
    host.fail_next("merge", errors.NoSpace("full"))
    snapshots.delete_snapshot(actor=owner, snapshot=snapshot)
    (operation,) = work()
    assert operation.state == "failed"
    assert kept(snapshot).state == SnapshotState.BROKEN
    with pytest.raises(Conflict, match="no longer whole"):
        snapshots.revert(actor=owner, snapshot=kept(snapshot))
    snapshots.delete_snapshot(actor=owner, snapshot=kept(snapshot))
    work()
    agree(web, host, turn, 1)


def cancelled_at_merge(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """While the host merges: right after it was asked for the so-manyth time."""
    merge, calls = MemoryDriver.merge, iter(range(1, 99))

    def asked(self: MemoryDriver, job: UUID, wanted: Merge, *, may_switch: bool) -> MergeFacts:
        facts = merge(self, job, wanted, may_switch=may_switch)
        if next(calls) == number:
            Operation.objects.unscoped("test").filter(state="running").update(cancel_requested_at=timezone.now())
        return facts

    monkeypatch.setattr(MemoryDriver, "merge", asked)


def test_a_deletion_can_be_cancelled_and_done_later(
    web: VM, host: MemoryHost, turn: Turn, take: Take, owner: Actor, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = take(web)
    with monkeypatch.context() as patch:
        cancelled_at_merge(patch, 1)
        snapshots.delete_snapshot(actor=owner, snapshot=snapshot)
        (operation,) = work()
    assert operation.state == "cancelled"
    assert kept(snapshot).state == SnapshotState.BROKEN
    assert host.merges == {}
    agree(web, host, turn, 2)
    snapshots.delete_snapshot(actor=owner, snapshot=kept(snapshot))
    (operation,) = work()
    assert operation.state == "succeeded"
    agree(web, host, turn, 1)


def test_what_was_merged_before_a_cancel_stays_merged(
    web: VM, host: MemoryHost, turn: Turn, take: Take, owner: Actor, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = take(web, "one"), take(web, "two")
    end_or_hide(two)  # as an earlier deletion would have left it
    hold(again(web), kept(two))
    with monkeypatch.context() as patch:
        cancelled_at_merge(patch, 4)  # begun, ready, switched, and the next one begun
        snapshots.delete_snapshot(actor=owner, snapshot=one)
        (operation,) = work()
    assert operation.state == "cancelled"
    agree(web, host, turn, 2)
    assert kept(one).state == SnapshotState.BROKEN
    snapshots.delete_snapshot(actor=owner, snapshot=kept(one))
    work()
    agree(web, host, turn, 1)
    assert not Snapshot.objects.unscoped("test").exists()


def test_a_cancel_that_comes_before_anything_was_begun_leaves_it_whole(
    web: VM, host: MemoryHost, turn: Turn, take: Take, owner: Actor, work: Work
) -> None:
    snapshot = take(web)
    operation = snapshots.delete_snapshot(actor=owner, snapshot=snapshot)
    operations.cancel(actor=owner, operation=operation)
    (operation,) = work()
    assert operation.state == "cancelled"
    assert kept(snapshot).state == SnapshotState.READY
    agree(web, host, turn, 2)


def test_a_tidying_up_that_is_cancelled_is_left_for_a_while(
    web: VM, host: MemoryHost, turn: Turn, take: Take, owner: Actor, work: Work
) -> None:
    snapshots.revert(actor=owner, snapshot=take(web))
    work()
    after_a_while()
    (operation,) = Operation.objects.unscoped("test").filter(kind="vm.clear-up")
    operations.cancel(actor=owner, operation=operation)
    (operation,) = work()
    assert operation.state == "cancelled"
    rows = Operation.objects.unscoped("test")
    rows.update(finished_at=timezone.now() - timedelta(minutes=2))
    clear_up_all()
    assert work() == []
    after_a_while()
    assert [each.state for each in work()] == ["succeeded"]
    agree(web, host, turn, 2)


def _stop(owner: Actor, vm: VM, other: Snapshot) -> None:
    power.change_power(actor=owner, vm=vm, action=Action.FORCE_OFF)


def _take(owner: Actor, vm: VM, other: Snapshot) -> None:
    snapshots.take_snapshot(actor=owner, vm=vm, name="three")


def _clone(owner: Actor, vm: VM, other: Snapshot) -> None:
    clone_vm(actor=owner, vm=vm, name="copy", mode="linked")


def _revert(owner: Actor, vm: VM, other: Snapshot) -> None:
    snapshots.revert(actor=owner, snapshot=kept(other))


def _delete(owner: Actor, vm: VM, other: Snapshot) -> None:
    snapshots.delete_snapshot(actor=owner, snapshot=kept(other))


@pytest.mark.parametrize("moment", [1, 2, 3], ids=["begun", "ready", "switched"])
@pytest.mark.parametrize("ask", [_stop, _take, _clone, _revert, _delete])
def test_tidying_up_gives_way_to_whatever_is_asked_for(
    web: VM,
    host: MemoryHost,
    turn: Turn,
    take: Take,
    owner: Actor,
    work: Work,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[Actor, VM, Snapshot], None],
    moment: int,
) -> None:
    """It is accepted at whatever moment of a merge, begins when that was ended, and both are done in the end."""
    first, other = take(web), take(web, "two")
    end_or_hide(first)
    hold(again(web), kept(first))
    merge, calls = MemoryDriver.merge, iter(range(1, 99))

    def merged(self: MemoryDriver, job: UUID, wanted: Merge, *, may_switch: bool) -> MergeFacts:
        facts = merge(self, job, wanted, may_switch=may_switch)
        if next(calls) == moment:
            ask(owner, again(web), other)
        return facts

    with monkeypatch.context() as patch:
        patch.setattr(MemoryDriver, "merge", merged)
        after_a_while()
        (tidying,) = work()
        Operation.objects.unscoped("test").filter(state="queued").update(not_before=None)
        work()
    ended = list(Operation.objects.unscoped("test").order_by("created_at"))
    assert ended[-1].state == "succeeded", ended[-1].error
    assert tidying.state in ("cancelled", "succeeded"), tidying.error
    after_a_while()
    work()
    after_a_while()
    work()
    assert chain(web) == on_host(web, host)
    assert {each.state for each in Operation.objects.unscoped("test")} <= {"cancelled", "succeeded"}
    is_shared = moment == 1 and ask is _clone  # the clone stands on both by now
    assert Snapshot.objects.unscoped("test").filter(pk=first.pk).exists() == is_shared
    turn()
    assert turn() == []


def test_nobody_who_works_with_a_machine_finds_it_busy(web: VM, take: Take, owner: Actor, work: Work) -> None:
    snapshots.revert(actor=owner, snapshot=take(web))
    work()
    clear_up_all()
    assert work() == []
    after_a_while()
    assert [operation.state for operation in work()] == ["succeeded"]


def test_what_is_refused(world: World, web: VM, host: MemoryHost, take: Take, owner: Actor) -> None:
    with pytest.raises(Invalid, match="no memory"):
        snapshots.take_snapshot(actor=owner, vm=again(world.machines["cold"]), name="one", memory=True)
    with pytest.raises(Invalid):
        snapshots.take_snapshot(actor=owner, vm=again(web), name="\u202e")
    take(web)
    with pytest.raises(Conflict, match="of this name"):
        snapshots.take_snapshot(actor=owner, vm=again(web), name="one")
    Quota.objects.filter(tenant=world.acme).update(snapshots=1)
    with pytest.raises(ledger.Exceeded):
        snapshots.take_snapshot(actor=owner, vm=again(web), name="two")
    assert Operation.objects.unscoped("test").filter(state="queued").count() == 0


def test_as_much_as_it_may_take_is_held_at_first(world: World, web: VM, host: MemoryHost, owner: Actor) -> None:
    snapshot, _ = snapshots.take_snapshot(actor=owner, vm=again(web), name="one", memory=True)
    assert snapshot.size_gib == web.disk_gib + 1
    used = ledger.used(world.acme.pk)["disk_gib"]
    Quota.objects.filter(tenant=world.acme).update(disk_gib=used)
    with pytest.raises(ledger.Exceeded):
        snapshots.take_snapshot(actor=owner, vm=again(world.machines["cold"]), name="two")


def test_a_machine_takes_its_snapshots_with_it(
    world: World, web: VM, host: MemoryHost, turn: Turn, take: Take, owner: Actor, work: Work
) -> None:
    one = take(web, "one", memory=True)
    take(web, "two")
    snapshots.revert(actor=owner, snapshot=kept(one), safety=True)
    work()
    delete_vm(actor=owner, vm=again(web), purge=True)
    (operation,) = work()
    assert operation.state == "succeeded", operation.error
    assert not Snapshot.objects.unscoped("test").filter(vm_id=web.pk).exists()
    left = {layer.file_name for layer in Layer.objects.all()}
    assert {name for _, name in host.volumes if name.endswith((".qcow2", ".memory"))} - {world.image.file_name} == left
    assert "snapshots" not in ledger.used(world.acme.pk)


def test_what_a_clone_stands_on_stays(
    world: World, web: VM, host: MemoryHost, take: Take, owner: Actor, work: Work
) -> None:
    one = take(web, "one")
    layer = one.disks.get().layer
    clone = Layer.objects.create(pool=layer.pool, parent=layer, size_gib=layer.size_gib)
    Volume.objects.create(tenant=world.acme, name="of a clone", size_gib=clone.size_gib, layer=clone)
    driver_for(again(web).host).ensure_overlay("berth", clone.file_name, layer.file_name, clone.size_bytes)
    snapshots.delete_snapshot(actor=owner, snapshot=one)
    work()
    assert kept(one).state == SnapshotState.GONE
    delete_vm(actor=owner, vm=again(web), purge=True)
    work()
    assert {name for _, name in host.volumes} >= {layer.file_name, clone.file_name}
    assert Layer.objects.filter(pk=layer.pk).exists()


def test_a_schedule_takes_and_deletes_them(world: World, web: VM, host: MemoryHost, owner: Actor, work: Work) -> None:
    maker = makers.maker_of(ScheduleKind.SNAPSHOT)
    schedule = Schedule(vm=again(web), tenant=world.acme, every="daily", due_at=timezone.now())
    made, _ = maker.make(SYSTEM, schedule, timezone.now())
    assert maker.whole([made]) == set()
    work()
    assert maker.whole([made]) == {made}
    maker.delete(SYSTEM, made)
    work()
    assert not Snapshot.objects.unscoped("test").exists()


def test_a_layer_that_was_frozen_for_something_that_is_over_is_merged(
    world: World, web: VM, host: MemoryHost, turn: Turn, work: Work
) -> None:
    """As a clone of a running machine leaves it."""
    volume = Volume.objects.unscoped("test").select_related("layer__pool").get(vm=web)
    top = Layer.objects.create(pool=volume.layer.pool, parent=volume.layer, size_gib=volume.size_gib)
    driver = driver_for(again(web).host)
    driver.ensure_overlay("berth", top.file_name, volume.layer.file_name, top.size_bytes)
    driver.freeze(web.pk, [FreshLayer("vda", "berth", top.file_name)])
    volume.layer = top
    volume.save()
    agree(web, host, turn, 2)
    after_a_while()
    (operation,) = work()
    assert operation.state == "succeeded", operation.error
    agree(web, host, turn, 1)
    after_a_while()
    assert work() == []
