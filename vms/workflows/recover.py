"""Recovery: a machine whose host has failed is brought up on another one that reaches its disks.

Where it is to be is decided before the work begins, in one transaction: nothing runs on the failed host, so its claims,
its machine and its disks are the other host's from then on, and what is left is a repair there.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, IntegerField, QuerySet, Value, When

from hosts import placement, reach
from hosts.errors import translate
from hosts.models import Host
from hosts.placement import NoCapacity
from portal.core.errors import Conflict
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.workflow import Workflow, register
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM
from portal.tenancy.roles import Permission
from vms import layers, promises, storage
from vms.models import VM, Power, Snapshot, Volume
from vms.models.catalogue import Priority
from vms.observed import SETTLED
from vms.wanted import wanted_of
from vms.workflows.repair import REPAIR, keep_the_wish, settle_claims

RETURN = "host.return"
_TURN = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}


def machines_of(host: Host) -> QuerySet[VM]:
    """Those that are to be had elsewhere: by their turn, and those that are to run first."""
    turn = Case(
        *(When(flavor__recovery_priority=priority, then=Value(place)) for priority, place in _TURN.items()),
        output_field=IntegerField(),
    )
    off = Case(When(binned_at=None, then=Value(0)), default=Value(1), output_field=IntegerField())
    rows = (
        VM.objects.unscoped("recovery").filter(SETTLED, host=host).select_related("flavor", "host__cluster", "tenant")
    )
    return rows.annotate(turn=turn, is_off=off).order_by("is_off", "turn", "created_at", "pk")


def is_busy(vm: VM) -> bool:
    return operations.active_on("vm", vm.pk) is not None


def recover_all(host: Host) -> int:
    """Bring up elsewhere what can be, and return for how many that was begun. Others are left for a later call."""
    begun = 0
    for vm in machines_of(host):
        if reaching := storage.elsewhere(vm):
            try:
                recover(vm.pk, reaching)
                begun += 1
            except (Conflict, VM.DoesNotExist):  # no room for it, or something is still under way with it
                continue
    return begun


@transaction.atomic
def recover(vm_id: UUID, reaching: frozenset[UUID]) -> Operation:
    """Raises NoCapacity, or Conflict where it is busy or its host has not failed."""
    rows = VM.objects.unscoped("recovery").select_related("flavor", "host__cluster", "tenant")
    vm = rows.select_for_update(of=("self",)).get(pk=vm_id)
    failed = vm.host
    ledger.lock(failed.pk)
    failed.refresh_from_db(fields=["state"])
    if not failed.has_failed or _is_returning(failed):
        raise Conflict("Its host has not failed, or is coming back.", code="wrong_state")
    _move_to(_placed(vm, reaching), vm)
    title = f"Start {vm.name} on another host: its own failed"
    if vm.wanted_power == Power.STOPPED:
        title = f"Move {vm.name} to another host: its own failed"
    params = {"from": str(failed.pk)}
    volumes = Volume.objects.unscoped("recovery").filter(vm=vm, is_boot=False)
    asked: dict[str, Any] = {"title": title, "params": params, "lane": vm.host_id, "holds": volumes}
    return operations.submit(RECOVER, actor=SYSTEM, target=vm, **asked)


def _is_returning(host: Host) -> bool:
    """It is being cleared of what was moved before that began."""
    operation = operations.active_on("host", host.pk)
    return operation is not None and operation.kind == RETURN


def _placed(vm: VM, reaching: frozenset[UUID]) -> Host:
    """Its disks take no new room; what its promise becomes on the other host is noted in `vm`."""

    def keep(host: Host) -> None:
        for name, value in promises.kept_by(vm, host, vm.promise).items():
            setattr(vm, name, value)

    wanted = wanted_of(vm, storage=reaching, clusters=frozenset({vm.host.cluster_id}), uses_reserve=True)
    amounts = {name: amount for name, amount in wanted.amounts.items() if name != "disk_gib"}
    return placement.place(vm.pk, replace(wanted, amounts=amounts), keep)


def _move_to(host: Host, vm: VM) -> None:
    failed, pools = vm.host, list(storage.pools_of(vm))
    own = reach.counterparts(pools, host)
    if missing := [pool.name for pool in pools if pool.pk not in own]:
        raise NoCapacity(f"The other host does not reach its storage {missing[0]} any more.")
    layers.take_to(vm, own)
    _move_claims(vm, failed, host)
    vm.host = host
    vm.save(update_fields=["host", "service_class", "cpu_floor", "cpu_ceiling", "has_huge_pages", "tuning"])


def _move_claims(vm: VM, failed: Host, host: Host) -> None:
    ledger.hold(host.pk, vm.pk, {"disk_gib": vm.disk_gib}, {})
    ledger.release(vm.pk, failed.pk)
    volumes = Volume.objects.unscoped("recovery").filter(vm=vm, is_boot=False).values_list("pk", flat=True)
    snapshots = Snapshot.objects.unscoped("recovery").filter(vm=vm).values_list("pk", flat=True)
    for holder_id in (*volumes, *snapshots):
        ledger.hold(host.pk, holder_id, ledger.held(failed.pk, holder_id), {})
        ledger.release(holder_id, failed.pk)


RECOVER = register(
    Workflow(
        kind="vm.recover",
        doing="being brought up on another host",
        done="brought up on another host",
        permission=Permission.HOST_WRITE,
        steps=REPAIR.steps,
        succeeded=settle_claims,
        unwound=keep_the_wish,
        translate=translate,
        deadline=timedelta(hours=1),
    )
)
