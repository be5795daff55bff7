"""What is held of a host beside a machine's size, each by its own id: by its other disks and its snapshots."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from portal.quotas import ledger
from vms.models import VM, Snapshot, Volume


def holders_beside(vm: VM) -> list[UUID]:
    volumes = Volume.objects.unscoped("of a machine in hand").filter(vm=vm, is_boot=False)
    snapshots = Snapshot.objects.unscoped("of a machine in hand").filter(vm=vm)
    return [*volumes.values_list("pk", flat=True), *snapshots.values_list("pk", flat=True)]


def take(holders: Iterable[UUID], here: UUID, there: UUID) -> None:
    """From one host's account to another's, whatever room that has: what they hold lies there already."""
    for holder in holders:
        ledger.hold(there, holder, ledger.held(here, holder), {})
        ledger.release(holder, here)
