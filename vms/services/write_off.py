"""Writing off a failed host that never comes back: what lay on it alone is lost, and holds nothing any more."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from hosts.models import Host, StoragePool
from portal.core.errors import Conflict, Invalid
from portal.events import log
from portal.operations.selectors import active_on_each
from portal.quotas import ledger
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import loose, loss
from vms.loss import Loss
from vms.models import VM, Layer, Power, Snapshot, SnapshotDisk, SnapshotState, Volume
from vms.workflows.create import forget_machine


@transaction.atomic
def write_off(*, actor: Actor, host: Host, typed: str, machines: int | None = None) -> int:
    """Forget its machines that start from a disk on it alone, and other disks that lie there; of how many machines.

    Their tenants are told. What other hosts see stays: a machine that starts from such a disk is off then, without
    those that are lost. `typed` must be its name, `machines` how many of them the caller expects to lose. Raises
    Invalid at `name`, and Conflict where it has not failed, something is still under way, or nobody sees at the moment
    what others share.
    """
    actor.require(Permission.HOST_WRITE)
    if typed != host.name:
        raise Invalid("This is not its name; nothing was written off.", field="name")
    _lock_machines(host)  # before the host's account, as everybody locks them
    ledger.lock(host.pk)
    host.refresh_from_db()
    if not host.has_failed:
        raise Conflict("It has not failed.", code="wrong_state")
    _require_seen(host)
    lost = loss.of(host)
    _require_expected(len(lost.machines), machines)
    _require_idle([host.pk, *(each.pk for each in (*lost.machines, *lost.maimed, *lost.volumes))])
    for vm in lost.machines:
        log.record("vm.written-off", actor=actor, target=vm)
        forget_machine(vm.pk, removed=())
    _maim(actor, lost)
    _forget_disks(actor, lost)
    loose.leave(host)  # the disks that its machines had on storage of others, and what was worked on when it failed
    told = {"machines": len(lost.machines), "volumes": len(lost.volumes)}
    log.record("host.written-off", actor=actor, target=host, detail=f"{actor.label} typed {typed}", after=told)
    return len(lost.machines)


def _lock_machines(host: Host) -> None:
    rows = VM.objects.unscoped("write-off").filter(host=host)
    list(rows.order_by("pk").select_for_update(of=("self",)))


def _require_seen(host: Host) -> None:
    """What lies on shared storage can be another host's only once one sees it."""
    if (pool := loss.unseen(host)) is not None:
        raise Conflict(
            f"{pool.host.name} shares its storage {pool.name}, and {_why_unseen(pool)}, so nobody sees that. "
            "Mend that first. Where that host never comes back either, delete its machines, and remove it.",
            code="storage_unseen",
        )


def _why_unseen(pool: StoragePool) -> str:
    if pool.host.has_failed:
        return "has failed as well"
    return "has lost it" if pool.error else "does not answer"


def _require_expected(count: int, expected: int | None) -> None:
    if expected is not None and expected != count:
        raise Conflict(f"{count} machines would be lost, and not {expected}. Look again.", code="changed")


def _require_idle(ids: Iterable[UUID]) -> None:
    for operation in active_on_each(ids).values():
        raise Conflict(
            f"“{operation.title}” is still under way; wait for it or cancel it.",
            code="operation_in_progress",
            extra={"operation": str(operation.pk)},
        )


def _maim(actor: Actor, lost: Loss) -> None:
    """What is left of these machines is whole by itself; whether it is to run without the rest, their owners decide."""
    for vm in lost.maimed:
        log.record("vm.disks-written-off", actor=actor, target=vm)
    VM.objects.unscoped("write-off").filter(pk__in=[vm.pk for vm in lost.maimed]).update(desired_power=Power.STOPPED)
    disks = SnapshotDisk.objects.filter(Q(layer__pool__in=lost.pools) | Q(volume__in=lost.volumes))
    snapshots = Snapshot.objects.unscoped("write-off")
    broken = snapshots.filter(Q(pk__in=disks.values("snapshot")) | Q(memory_pool__in=lost.pools))
    broken.exclude(state=SnapshotState.GONE).update(state=SnapshotState.BROKEN)
    snapshots.filter(memory_pool__in=lost.pools).update(memory_pool=None)
    disks.delete()


def _forget_disks(actor: Actor, lost: Loss) -> None:
    """With all layers of these pools, those first on which none stands."""
    for volume in lost.volumes:
        log.record("volume.written-off", actor=actor, target=volume)
        ledger.release(volume.pk)
    Volume.objects.unscoped("write-off").filter(pk__in=[volume.pk for volume in lost.volumes]).delete()
    while Layer.objects.filter(pool__in=lost.pools, children=None).delete()[0]:
        pass
