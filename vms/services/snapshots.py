"""Taking, reverting to and deleting snapshots."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from hosts import placement
from portal.core import text
from portal.core.errors import Conflict, Invalid, NotFound
from portal.core.units import GIB_IN_MIB
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.services import active_on
from portal.quotas import services as quotas
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import snapshot_layers, snapshot_selectors
from vms.layers import fresh_on
from vms.models import VM, Layer, Power, Schedule, ScheduleKind, Snapshot, SnapshotDisk, SnapshotState, Volume
from vms.scheduling import makers
from vms.services import guard
from vms.snapshot_states import SnapshotAction
from vms.states import Action
from vms.workflows.clear_up import DELETE_SNAPSHOT
from vms.workflows.revert import REVERT
from vms.workflows.snapshot import SNAPSHOT

LONGEST_NAME, LONGEST_DESCRIPTION = 63, 300
MOST_OF_A_VM = 50  # each is a file more between a guest and its data


@transaction.atomic
def take_snapshot(
    *, actor: Actor, vm: VM, name: str, description: str = "", memory: bool = False, safety: bool = False
) -> tuple[Snapshot, Operation]:
    """Keep its disks as they are now, with the memory of a running guest where it is asked for.

    `safety`: Berth itself takes it, before something is lost.
    As much as it may take at most is held now, and what it takes is once it is taken. Raises Invalid at the field,
    Forbidden, Exceeded (quota), NoCapacity, or Conflict (name taken, too many, or the machine's state is in the way).
    """
    guard.require(actor, vm, Action.SNAPSHOT)
    if memory and vm.observed_power == Power.STOPPED:
        raise Invalid("It is off, and has no memory to keep.", code="wrong_state", field="memory")
    volumes = _volumes(vm)
    snapshot = _new(actor, vm, text.label(name, longest=LONGEST_NAME), volumes)
    snapshot.description = text.label(description, "description", LONGEST_DESCRIPTION) if description else ""
    snapshot.memory_pool = volumes[0].layer.pool if memory else None
    snapshot.is_safety = safety
    _save(snapshot, volumes)
    fresh = {volume: fresh_on(volume.layer, volume.size_gib) for volume in volumes}
    operation = operations.submit(
        SNAPSHOT,
        actor=actor,
        target=vm,
        title=f"Take snapshot {snapshot.name} of {vm.name}"[:200],
        params={"snapshot": str(snapshot.pk), "fresh": _ids(fresh)},
        lane=vm.host_id,
        after={"snapshot": snapshot.name, "memory": memory},
        holds=[*fresh.values(), *(volume.layer for volume in volumes)],
    )
    return snapshot, operation


@transaction.atomic
def revert(*, actor: Actor, snapshot: Snapshot, safety: bool = False) -> Operation:
    """Return its machine to it. With `safety` what it is now is kept as a snapshot first; without, it is lost.

    A volume that was attached since stays as it is. Raises Forbidden, Conflict, and with `safety` Exceeded.
    """
    vm = _require(actor, snapshot, SnapshotAction.REVERT)
    plan = snapshot_selectors.revert_plan(vm, snapshot)
    disks = list(snapshot.disks.select_related("layer__pool", "volume__layer__pool"))
    volumes = [disk.volume for disk in disks]
    before = _new(actor, vm, f"Before {snapshot.name} {timezone.now():%Y-%m-%d %H:%M:%S}", volumes)
    before.is_safety, before.description = safety, f"What it was when it was returned to {snapshot.name}."
    if not safety:
        before.state, before.parent = SnapshotState.GONE, None
    _save(before, volumes, is_paid=safety)
    fresh = {disk.volume: fresh_on(disk.layer, disk.volume.size_gib) for disk in disks}
    was_on = vm.observed_power in (Power.RUNNING, Power.PAUSED)
    return operations.submit(
        REVERT,
        actor=actor,
        target=vm,
        title=f"Revert {vm.name} to {snapshot.name}"[:200],
        params={
            "snapshot": str(snapshot.pk),
            "before": str(before.pk),
            "safety": safety,
            "fresh": _ids(fresh),
            "was_on": was_on,
            "with_memory": plan.with_memory,
            "after": Power.RUNNING if was_on or plan.with_memory else Power.STOPPED,
        },
        lane=vm.host_id,
        after={"snapshot": snapshot.name, "safety": safety},
        holds=[*fresh.values(), *(volume.layer for volume in volumes)],
    )


def keep_as_it_is(*, actor: Actor, vm: VM, volumes: Iterable[Volume], cause: str) -> Snapshot:
    """What a machine that the caller has locked is until its disks are replaced: ready once that is done.

    Raises Exceeded, NoCapacity or Conflict as `take_snapshot` does.
    """
    before = _new(actor, vm, f"Before {cause} {timezone.now():%Y-%m-%d %H:%M:%S}", volumes)
    before.is_safety, before.description = True, f"What it was before {cause}."
    _save(before, volumes)
    return before


@transaction.atomic
def delete_snapshot(*, actor: Actor, snapshot: Snapshot) -> Operation:
    """Its data is merged into what stands on it; the machine and its other snapshots stay as they are."""
    vm = _require(actor, snapshot, SnapshotAction.DELETE)
    was, snapshot.state = snapshot.state, SnapshotState.DELETING
    snapshot.save(update_fields=["state"])
    return operations.submit(
        DELETE_SNAPSHOT,
        actor=actor,
        target=vm,
        title=f"Delete snapshot {snapshot.name} of {vm.name}"[:200],
        params={"snapshot": str(snapshot.pk), "was": was},
        lane=vm.host_id,
        after={"snapshot": snapshot.name},
        holds=[layer for layer, _ in snapshot_layers.spare_layers(vm)],
    )


@transaction.atomic
def describe(*, actor: Actor, snapshot: Snapshot, name: str | None = None, description: str | None = None) -> Snapshot:
    """Its words alone; no operation."""
    actor.require(Permission.VM_WRITE, snapshot.tenant_id)
    before = {"name": snapshot.name, "description": snapshot.description}
    if name is not None:
        snapshot.name = text.label(name, longest=LONGEST_NAME)
    if description is not None:
        snapshot.description = text.label(description, "description", LONGEST_DESCRIPTION) if description else ""
    try:
        with transaction.atomic():
            snapshot.save(update_fields=["name", "description"])
    except IntegrityError as error:
        raise _taken() from error
    after = {"name": snapshot.name, "description": snapshot.description}
    log.record("snapshot.renamed", actor=actor, target=snapshot, before=before, after=after)
    return snapshot


def _require(actor: Actor, snapshot: Snapshot, action: SnapshotAction) -> VM:
    """Its machine, locked, with both as they are now."""
    actor.require(Permission.VM_WRITE, snapshot.tenant_id)
    vm = snapshot.vm
    guard.refresh(vm)
    try:
        snapshot.refresh_from_db(from_queryset=Snapshot.objects.unscoped("fetched through the gate"))
    except Snapshot.DoesNotExist:
        raise NotFound("This snapshot is gone.") from None
    operation = active_on("vm", vm.pk)
    found = snapshot_selectors.actions(actor, snapshot, vm, operation)[action]
    if not found.allowed:
        code = "operation_in_progress" if operation else "wrong_state"
        extra = {"operation": str(operation.pk)} if operation else {"status": vm.status}
        raise Conflict(found.reason, code=code, extra=extra)
    return vm


def _volumes(vm: VM) -> list[Volume]:
    return list(vm.volumes.select_related("layer__pool").order_by("-is_boot", "target"))


def _new(actor: Actor, vm: VM, name: str, volumes: Iterable[Volume]) -> Snapshot:
    return Snapshot(
        tenant_id=vm.tenant_id,
        vm=vm,
        name=name[:LONGEST_NAME],
        parent=vm.current_snapshot,
        power=vm.observed_power,
        vcpus=vm.vcpus,
        memory_mib=vm.memory_mib,
        size_gib=sum(volume.size_gib for volume in volumes),
        created_by=actor.label,
    )


def _save(snapshot: Snapshot, volumes: Iterable[Volume], *, is_paid: bool = True) -> None:
    vm = snapshot.vm
    if snapshot.has_memory:
        snapshot.size_gib += -(-snapshot.memory_mib // GIB_IN_MIB)
    rows = Snapshot.objects.unscoped("of a machine in hand").filter(vm=vm)
    if is_paid and rows.exclude(state=SnapshotState.GONE).count() >= MOST_OF_A_VM:
        raise Conflict(f"A machine has {MOST_OF_A_VM} snapshots at most; delete one first.", code="too_many")
    if is_paid:
        quotas.hold(vm.tenant, snapshot.pk, snapshot.wanted)
        placement.resize(vm.host, snapshot.pk, {"disk_gib": snapshot.size_gib})
    try:
        with transaction.atomic():
            snapshot.save(force_insert=True)
    except IntegrityError as error:
        raise _taken() from error
    for volume in volumes:
        SnapshotDisk.objects.create(snapshot=snapshot, volume=volume, layer=volume.layer, size_gib=volume.size_gib)


def _taken() -> Conflict:
    return Conflict("The machine has a snapshot of this name already.", code="duplicate", field="name")


def _ids(layers: dict[Volume, Layer]) -> dict[str, str]:
    return {str(volume.pk): str(layer.pk) for volume, layer in layers.items()}


# -- by schedule -----------------------------------------------------------------------------------------------------


def _by_schedule(actor: Actor, schedule: Schedule, now: datetime) -> tuple[UUID, Operation]:
    """Named after the time at which it was due, in UTC."""
    name = f"{schedule.every} {schedule.due_at:%Y-%m-%d %H:%M}"
    snapshot, operation = take_snapshot(actor=actor, vm=schedule.vm, name=name)
    return snapshot.pk, operation


def _delete_by_schedule(actor: Actor, id: UUID) -> Operation:
    return delete_snapshot(actor=actor, snapshot=snapshot_selectors.snapshot(actor, id, Permission.VM_WRITE))


def _whole(ids: Collection[UUID]) -> set[UUID]:
    rows = Snapshot.objects.unscoped("scheduler").filter(pk__in=list(ids), state=SnapshotState.READY)
    return set(rows.values_list("pk", flat=True))


makers.register(ScheduleKind.SNAPSHOT, makers.Maker(make=_by_schedule, delete=_delete_by_schedule, whole=_whole))
