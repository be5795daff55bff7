"""Resolving drift: the administrator's choices, each checked against the same verdicts as its button."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.db import transaction

from hosts.services import hosts as of_hosts
from hosts.services.locks import lock_host
from portal.core.errors import Conflict
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.quotas import ledger
from portal.quotas import services as quotas
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import selectors
from vms.audit.findings import Kind
from vms.models import VM, Drift, DriftState
from vms.resolutions import Resolution
from vms.states import Verdict
from vms.workflows.adopt import ADOPT
from vms.workflows.clean_up import CLEAN_UP
from vms.workflows.repair import REPAIR

_OF_A_HOST = (Kind.POOL_UNAVAILABLE, Kind.NETWORK_UNAVAILABLE)


@transaction.atomic
def resolve(*, actor: Actor, drift: Drift, resolution: Resolution) -> Operation | None:
    """Take one of the resolutions; the operation that does it, or None where nothing is to be done on a host.

    Raises Forbidden, Conflict with the reason ("wrong_state"), or Exceeded where adopting needs more quota.
    """
    actor.require(Permission.HOST_WRITE)
    verdict = selectors.resolutions(actor, drift, selectors.busy_with([drift]).get(drift.pk))[resolution]
    _refuse(verdict)
    operation = _RESOLVE[resolution](actor, drift)
    if operation is not None:
        log.record(f"drift.{resolution}-asked", actor=actor, target=drift, operation_id=operation.pk)
    return operation


def _refuse(verdict: Verdict) -> None:
    if not verdict.allowed:
        raise Conflict(verdict.reason, code="wrong_state")


def _adopt(actor: Actor, drift: Drift) -> Operation:
    vm = _machine(drift)
    size = drift.evidence.get("size") if drift.kind in (Kind.DEFINITION_CHANGED, Kind.DISK_LARGER) else None
    if size:
        _hold_for(vm, size)
    params = {"drift": str(drift.pk), "size": size, "power": drift.evidence["is"].get("power")}
    return operations.submit(
        ADOPT, actor=actor, target=vm, title=f"Adopt what {vm.name} has become", params=params, lane=vm.host_id
    )


def _hold_for(vm: VM, size: Mapping[str, int]) -> None:
    """The larger of both sizes: of the quota by its rules, of the host without, for there it is already."""
    wanted = {name: max(amount, size.get(name, 0)) for name, amount in vm.wanted.items()}
    quotas.hold(vm.tenant, vm.pk, {"vms": 1, **wanted})
    ledger.hold(vm.host_id, vm.pk, wanted, {})


def _restore(actor: Actor, drift: Drift) -> Operation:
    if drift.kind in _OF_A_HOST and drift.host is not None:
        return of_hosts.preflight(actor=actor, host=drift.host)
    vm = _machine(drift)
    params = {"drift": str(drift.pk)}
    return operations.submit(
        REPAIR, actor=actor, target=vm, title=f"Restore {vm.name} as it should be", params=params, lane=vm.host_id
    )


def _clean_up(actor: Actor, drift: Drift) -> Operation:
    if drift.host is not None:
        lock_host(drift.host)
    return operations.submit(CLEAN_UP, actor=actor, target=drift, title=f"Clean up {drift.object}", lane=drift.host_id)


def _ignore(actor: Actor, drift: Drift) -> None:
    _set_state(actor, drift, DriftState.IGNORED)


def _reopen(actor: Actor, drift: Drift) -> None:
    _set_state(actor, drift, DriftState.OPEN)


def _set_state(actor: Actor, drift: Drift, state: DriftState) -> None:
    rows = Drift.objects.unscoped("fetched through the gate").filter(pk=drift.pk, state=drift.state)
    if not rows.update(state=state):  # it closed between the look and the leap
        raise Conflict("It has changed since; look at it again.", code="wrong_state")
    before, drift.state = drift.state, state
    log.record("drift.state-changed", actor=actor, target=drift, before={"state": before}, after={"state": state})


def _machine(drift: Drift) -> VM:
    """Locked until the transaction ends, and as it is now."""
    rows = VM.objects.unscoped("the drift is the provider's").select_for_update()
    vm = rows.filter(pk=drift.vm_id).first() if drift.vm_id else None
    if vm is None:
        raise Conflict("Its machine is gone.", code="wrong_state")
    return vm


_RESOLVE: Mapping[Resolution, Callable[[Actor, Drift], Operation | None]] = {
    Resolution.ADOPT: _adopt,
    Resolution.RESTORE: _restore,
    Resolution.CLEAN_UP: _clean_up,
    Resolution.IGNORE: _ignore,
    Resolution.REOPEN: _reopen,
}
