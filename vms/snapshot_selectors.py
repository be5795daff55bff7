"""Reads of snapshots. Lists cost the same number of queries however long they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet

from portal.operations.models import Operation
from portal.operations.selectors import in_the_way
from portal.tenancy import gate
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from vms.models import VM, Snapshot, SnapshotState
from vms.snapshot_states import SnapshotAction, SnapshotFacts, verdicts, what_revert_does, why_no_memory
from vms.states import Verdict


def snapshots(actor: Actor, *, tenant: Tenant | None = None, vm: VM | None = None) -> QuerySet[Snapshot]:
    """Newest first, without those that are deleted and only hold what others need."""
    rows = Snapshot.objects.for_actor(actor).exclude(state=SnapshotState.GONE).order_by("-created_at", "-id")
    rows = rows.select_related("tenant", "vm", "vm__tenant").prefetch_related("disks")
    if tenant is not None:
        rows = rows.filter(tenant=tenant)
    return rows.filter(vm=vm) if vm is not None else rows


def snapshot(actor: Actor, id: UUID | str, permission: Permission = Permission.VM_READ) -> Snapshot:
    return gate.get(Snapshot, actor, permission, id, related=("tenant", "vm", "vm__tenant", "vm__host"))


def actions(actor: Actor, snapshot: Snapshot, vm: VM, operation: Operation | None) -> Mapping[SnapshotAction, Verdict]:
    """What this actor may do with it now, and why not. `operation` is what is under way with its machine."""
    if not actor.can(Permission.VM_WRITE, snapshot.tenant_id):
        return dict.fromkeys(SnapshotAction, Verdict(False, actor.why_not(Permission.VM_WRITE, snapshot.tenant_id)))
    return verdicts(SnapshotFacts(snapshot.state, vm.status, in_the_way(operation)))


@dataclass(frozen=True)
class RevertPlan:
    """Whether the guest goes on from the snapshot's memory, and in words what a revert does."""

    with_memory: bool
    words: str


def revert_plan(vm: VM, snapshot: Snapshot) -> RevertPlan:
    now = {volume.pk: volume.size_gib for volume in vm.volumes.all()}
    then = {disk.volume_id: disk.size_gib for disk in snapshot.disks.all()}
    size = {"vcpus": snapshot.vcpus, "memory_mib": snapshot.memory_mib, "disks": then}
    why_not = why_no_memory(size, {"vcpus": vm.vcpus, "memory_mib": vm.memory_mib, "disks": now})
    words = what_revert_does(vm.observed_power, snapshot.has_memory, why_not)
    grown = [id for id, gib in then.items() if now.get(id, gib) > gib]
    if grown:
        words += " A disk that has grown since keeps its size; what is on it is from when it was smaller."
    if set(now) - set(then):
        words += " Volumes that were attached since stay as they are."
    return RevertPlan(snapshot.has_memory and not why_not, words)


def hidden_gib(vm: VM) -> int:
    """What deleted snapshots still hold, because others stand on their data."""
    rows = Snapshot.objects.unscoped("of a machine in hand").filter(vm=vm, state=SnapshotState.GONE)
    return sum(rows.values_list("size_gib", flat=True))
