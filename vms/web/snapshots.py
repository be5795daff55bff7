"""Snapshots as pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.urls import reverse

from portal.core.units import mib
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from vms import snapshot_selectors
from vms.models import VM, Consistency, Snapshot, SnapshotState
from vms.snapshot_tree import Branch, tree
from vms.states import Verdict

DEEPEST = 6  # further to the right there is no room on a small screen
CONSISTENCY = {
    Consistency.OFF: "The machine was off.",
    Consistency.MEMORY: "With the memory of that moment: it goes on where it was.",
    Consistency.FROZEN: "The guest's agent made its file systems whole first.",
    Consistency.CRASH: "As after a power cut: no agent answered in the guest.",
}
_LOOKS = {
    SnapshotState.TAKING: "working",
    SnapshotState.READY: "",
    SnapshotState.DELETING: "working",
    SnapshotState.BROKEN: "attention",
}
_WORDS = {SnapshotState.TAKING: "being taken", SnapshotState.DELETING: "being deleted", SnapshotState.BROKEN: "broken"}


@dataclass(frozen=True)
class SnapshotRow:
    """One of the tree, `depth` steps to the right, with the lines beside it (vms.snapshot_tree).

    `word` is "" where nothing is to be said of its state.
    """

    id: UUID
    name: str
    description: str
    depth: int
    rails: tuple[str, ...]
    is_here: bool
    has_memory: bool
    is_safety: bool
    word: str
    look: str
    size: str
    taken_at: datetime | None
    consistency: str
    url: str
    can: Mapping[str, Verdict]


@dataclass(frozen=True)
class SnapshotPage:
    """One snapshot, with what a return to it does."""

    row: SnapshotRow
    slug: str
    vm_name: str
    vm_url: str
    revert_words: str
    created_by: str
    parent: str
    parent_url: str


def rows(actor: Actor, vm: VM, operation: Operation | None) -> list[SnapshotRow]:
    """The tree of a machine, from the oldest down."""
    found = snapshot_selectors.snapshots(actor, vm=vm)
    branches = tree(found, vm.current_snapshot_id)
    return [_row(actor, vm, operation, branch) for branch in branches]


def page(actor: Actor, snapshot: Snapshot, operation: Operation | None) -> SnapshotPage:
    vm, parent = snapshot.vm, snapshot.parent
    is_here = vm.current_snapshot_id == snapshot.pk
    return SnapshotPage(
        row=_row(actor, vm, operation, Branch(snapshot, 0, is_here)),
        slug=vm.tenant.slug,
        vm_name=vm.name,
        vm_url=reverse("vm-disks", args=[vm.tenant.slug, vm.pk]),
        revert_words=snapshot_selectors.revert_plan(vm, snapshot).words,
        created_by=snapshot.created_by,
        parent=parent.name if parent else "",
        parent_url=_url(vm, parent) if parent else "",
    )


def _url(vm: VM, snapshot: Snapshot) -> str:
    return reverse("snapshot-detail", args=[vm.tenant.slug, snapshot.pk])


def _row(actor: Actor, vm: VM, operation: Operation | None, branch: Branch) -> SnapshotRow:
    snapshot, state = branch.snapshot, SnapshotState(branch.snapshot.state)
    verdicts = snapshot_selectors.actions(actor, snapshot, vm, operation)
    return SnapshotRow(
        id=snapshot.pk,
        name=snapshot.name,
        description=snapshot.description,
        depth=min(branch.depth, DEEPEST),
        rails=(*branch.rails[:-1][:DEEPEST], branch.rails[-1]),
        is_here=branch.is_here,
        has_memory=snapshot.has_memory,
        is_safety=snapshot.is_safety,
        word=_WORDS.get(state, ""),
        look=_LOOKS[state],
        size=mib(snapshot.size_gib * 1024),
        taken_at=snapshot.taken_at,
        consistency=CONSISTENCY[Consistency(snapshot.consistency)] if state == SnapshotState.READY else "",
        url=_url(vm, snapshot),
        can={str(action): verdict for action, verdict in verdicts.items()},
    )
