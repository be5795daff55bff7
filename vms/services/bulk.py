"""One action on many machines, with a result for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from portal.core.errors import DomainError
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import selectors
from vms.services.delete import delete_vm, purge_vm, restore_vm
from vms.services.power import ACTIONS as POWER_ACTIONS
from vms.services.power import change_power
from vms.states import Action, is_already

_OF_THE_BIN: Mapping[Action, Callable[..., Operation]] = {
    Action.DELETE: delete_vm,
    Action.RESTORE: restore_vm,
    Action.PURGE: purge_vm,
}
ACTIONS = (*POWER_ACTIONS, *_OF_THE_BIN)


@dataclass(frozen=True)
class Outcome:
    """What became of one machine: an operation, or a refusal; `is_already` where it was as it should become."""

    vm_id: UUID
    operation: Operation | None = None
    refusal: DomainError | None = None
    is_already: bool = False


def act_on_each(*, actor: Actor, action: Action, vm_ids: Iterable[UUID]) -> list[Outcome]:
    """One of `ACTIONS` on each machine, in this order; each stands by itself. One named twice is taken once."""
    return [_act(actor, action, vm_id) for vm_id in dict.fromkeys(vm_ids)]


def _act(actor: Actor, action: Action, vm_id: UUID) -> Outcome:
    try:
        vm = selectors.vm(actor, vm_id, Permission.VM_WRITE)
        if act := _OF_THE_BIN.get(action):
            return Outcome(vm_id, act(actor=actor, vm=vm))
        return Outcome(vm_id, change_power(actor=actor, vm=vm, action=action))
    except DomainError as refusal:
        refusal.remember()
        return Outcome(vm_id, refusal=refusal, is_already=is_already(action, refusal.extra.get("status", "")))
