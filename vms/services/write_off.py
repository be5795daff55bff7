"""Writing off a failed host that never comes back: what lay on it alone is lost, and holds nothing any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import transaction

from hosts import reach
from hosts.models import Host, StoragePool
from portal.core.errors import Conflict, Invalid
from portal.events import log
from portal.operations.selectors import active_on_each
from portal.quotas import ledger
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import loose, storage
from vms.models import VM, Layer, Volume
from vms.workflows.create import forget_machine


@transaction.atomic
def write_off(*, actor: Actor, host: Host, typed: str) -> int:
    """Forget its machines that no other host can take over, and the disks that lie on it alone; of how many machines.

    Their tenants are told. What other hosts can take over stays. `typed` must be its name. Raises Invalid at `name`,
    and Conflict where it has not failed or something is still under way.
    """
    actor.require(Permission.HOST_WRITE)
    if typed != host.name:
        raise Invalid("This is not its name; nothing was written off.", field="name")
    machines = _locked_machines(host)  # before the host's account, as everybody locks them
    ledger.lock(host.pk)
    host.refresh_from_db()
    if not host.has_failed:
        raise Conflict("It has not failed.", code="wrong_state")
    elsewhere = storage.elsewhere_of(machines)
    lost = [vm for vm in machines if not elsewhere[vm.pk]]
    pools = _pools_of_its_own(host)
    volumes = list(Volume.objects.unscoped("write-off").filter(layer__pool__in=pools, is_boot=False))
    _require_idle([host.pk, *(vm.pk for vm in lost), *(volume.pk for volume in volumes)])
    for vm in lost:
        log.record("vm.written-off", actor=actor, target=vm)
        forget_machine(vm.pk, removed=())
    _forget_disks(actor, volumes, pools)
    loose.leave(host)  # what was worked on when it failed
    told = {"machines": len(lost), "volumes": len(volumes)}
    log.record("host.written-off", actor=actor, target=host, detail=f"{actor.label} typed {typed}", after=told)
    return len(lost)


def _locked_machines(host: Host) -> Sequence[VM]:
    rows = VM.objects.unscoped("write-off").filter(host=host).select_related("host")
    return list(rows.order_by("pk").select_for_update(of=("self",)))


def _pools_of_its_own(host: Host) -> Sequence[StoragePool]:
    pools = list(host.storage_pools.all())
    reaching = reach.hosts_of_each(pools)
    return [pool for pool in pools if not reaching[pool.pk] - {host.pk}]


def _require_idle(ids: Iterable[UUID]) -> None:
    for operation in active_on_each(ids).values():
        raise Conflict(
            f"“{operation.title}” is still under way; wait for it or cancel it.",
            code="operation_in_progress",
            extra={"operation": str(operation.pk)},
        )


def _forget_disks(actor: Actor, volumes: Iterable[Volume], pools: Sequence[StoragePool]) -> None:
    """With all layers of these pools, those first on which none stands."""
    for volume in volumes:
        log.record("volume.written-off", actor=actor, target=volume)
        ledger.release(volume.pk)
    Volume.objects.unscoped("write-off").filter(pk__in=[volume.pk for volume in volumes]).delete()
    while Layer.objects.filter(pool__in=pools, children=None).delete()[0]:
        pass
