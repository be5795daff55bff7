"""Recovery: a machine whose host has failed is brought up on another one that reaches its disks.

Where it is to be is decided before the work begins, in one transaction: nothing runs on the failed host, so its claims,
its machine and its disks are the other host's from then on, and what is left is a repair there.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from hosts import placement, reach
from hosts.choice import Constraint
from hosts.errors import translate
from hosts.models import Host, HostState
from hosts.placement import NoCapacity
from portal.core.errors import Conflict
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.states import State
from portal.operations.workflow import Workflow, register
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM
from portal.tenancy.roles import Permission
from vms import claims, layers, promises, storage, takeover
from vms.models import VM, Power, Volume
from vms.observed import SETTLED
from vms.wanted import wanted_of
from vms.workflows.repair import REPAIR, keep_the_wish, settle_claims

RETURN = "host.return"
TRIES = 3  # on so many hosts, one after the other
logger = logging.getLogger(__name__)


def movable(host: Host) -> Sequence[tuple[VM, frozenset[UUID]]]:
    """Of `_reached` those that another host takes, or would if it had room: none that waits for anything else."""
    outlooks = takeover.of_hosts([host])
    waiting = {id for id, each in outlooks.items() if each.host is not None or each.constraint is Constraint.CAPACITY}
    return [(vm, reaching) for vm, reaching in _reached(host) if vm.pk in waiting]


def _reached(host: Host) -> Sequence[tuple[VM, frozenset[UUID]]]:
    """Those of which other hosts reach the disks, with these hosts. As many queries for one as for all."""
    vms = list(takeover.machines_on([host]))
    reaching = storage.elsewhere_of(vms)
    return [(vm, reaching[vm.pk]) for vm in vms if reaching[vm.pk]]


def recover_all(host: Host) -> int:
    """Bring up elsewhere what can be, and return for how many that was begun. Others are left for a later call."""
    return sum(_is_begun(partial(recover, vm.pk, reaching), vm) for vm, reaching in _reached(host))


def recover_again() -> int:
    """The same for machines that the host could not bring up which they were to be recovered on.

    It answers and says that it does not know them, so nothing of them runs there; hosts that failed so are avoided.
    """
    vms = _astray()
    tried, reaching = _tried(vms), storage.elsewhere_of(vms)
    begun = 0
    for vm in vms:
        if 0 < len(tried[vm.pk]) < TRIES and _is_known_missing(vm, tried[vm.pk][0]):
            begun += _is_begun(partial(_recover_again, vm.pk, reaching[vm.pk], tried[vm.pk]), vm)
    return begun


def _is_begun(begin: Callable[[], object], vm: VM) -> bool:
    try:
        begin()
    except NoCapacity as refusal:
        refusal.remember()
        return False
    except (Conflict, VM.DoesNotExist):  # something is still under way with it
        return False
    except Exception:  # it keeps no other down
        logger.exception("recovery of machine %s", vm.pk)
        return False
    return True


def states_since(host: Host, since: datetime) -> Mapping[UUID, str]:
    """By machine how its last recovery from that host stands, of those that began since then."""
    rows = Operation.objects.unscoped("recovery").filter(kind=RECOVER.kind, params__from=str(host.pk))
    return dict(rows.filter(created_at__gte=since).order_by("created_at").values_list("target_id", "state"))


def _astray() -> list[VM]:
    rows = VM.objects.unscoped("recovery").filter(SETTLED, is_missing=True).exclude(host__state=HostState.FAILED)
    return [vm for vm in rows.select_related("host").order_by("created_at", "pk") if vm.host.is_reachable]


def _tried(vms: Iterable[VM]) -> Mapping[UUID, list[Operation]]:
    """By machine its recoveries that failed, newest first, since anything succeeded with it. One query."""
    rows = Operation.objects.unscoped("recovery").filter(target_id__in=[vm.pk for vm in vms])
    by_machine: dict[UUID, list[Operation]] = defaultdict(list)
    for operation in rows.filter(Q(kind=RECOVER.kind) | Q(state=State.SUCCEEDED)).order_by("-created_at", "-id"):
        by_machine[operation.target_id].append(operation)
    return defaultdict(list, {id: list(takewhile(_has_failed, those)) for id, those in by_machine.items()})


def _has_failed(operation: Operation) -> bool:
    return operation.kind == RECOVER.kind and operation.state == State.FAILED


def _is_known_missing(vm: VM, last: Operation) -> bool:
    """By the host on which that was tried, since then."""
    seen_at, since = vm.host.seen_at, vm.observed_since
    if str(vm.host_id) != last.lane or last.finished_at is None or seen_at is None or since is None:
        return False
    return since > last.created_at and seen_at > last.finished_at


@transaction.atomic
def recover(vm_id: UUID, reaching: frozenset[UUID]) -> Operation:
    """Raises NoCapacity, or Conflict where it is busy or its host has not failed."""
    vm = _locked(vm_id)
    ledger.lock(vm.host_id)
    vm.host.refresh_from_db(fields=["state"])
    if not vm.host.has_failed or _is_returning(vm.host):
        raise Conflict("Its host has not failed, or is coming back.", code="wrong_state")
    return _bring_up(vm, reaching, failed_id=str(vm.host_id))


@transaction.atomic
def _recover_again(vm_id: UUID, reaching: frozenset[UUID], tried: Sequence[Operation]) -> Operation:
    vm = _locked(vm_id)
    if not (vm.is_missing and vm.is_settled and _is_known_missing(vm, tried[0])):
        raise Conflict("It is not missing any more.", code="wrong_state")
    avoid = frozenset(UUID(each.lane) for each in tried)
    return _bring_up(vm, reaching, failed_id=tried[0].params["from"], avoid=avoid)


def _locked(vm_id: UUID) -> VM:
    rows = VM.objects.unscoped("recovery").select_related("flavor", "host__cluster", "tenant")
    return rows.select_for_update(of=("self",)).get(pk=vm_id)


def _bring_up(vm: VM, reaching: frozenset[UUID], *, failed_id: str, avoid: frozenset[UUID] = frozenset()) -> Operation:
    """`failed_id` is the host on which it ran last."""
    _move_to(_placed(vm, reaching, avoid), vm)
    title = f"Start {vm.name} on another host: its own failed"
    if vm.wanted_power == Power.STOPPED:
        title = f"Move {vm.name} to another host: its own failed"
    volumes = Volume.objects.unscoped("recovery").filter(vm=vm, is_boot=False)
    asked: dict[str, Any] = {"title": title, "params": {"from": failed_id}, "lane": vm.host_id, "holds": volumes}
    return operations.submit(RECOVER, actor=SYSTEM, target=vm, **asked)


def _is_returning(host: Host) -> bool:
    """It is being cleared of what was moved before that began."""
    operation = operations.active_on("host", host.pk)
    return operation is not None and operation.kind == RETURN


def _placed(vm: VM, reaching: frozenset[UUID], avoid: frozenset[UUID]) -> Host:
    """Its disks take no new room; what its promise becomes on the other host is noted in `vm`."""

    def keep(host: Host) -> None:
        for name, value in promises.kept_by(vm, host, vm.promise).items():
            setattr(vm, name, value)

    clusters = frozenset({vm.host.cluster_id})
    wanted = wanted_of(vm, storage=reaching, clusters=clusters, avoid=avoid, uses_reserve=True)
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
    claims.take(claims.holders_beside(vm), failed.pk, host.pk)


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
