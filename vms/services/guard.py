"""What every action on a machine goes through first."""

from __future__ import annotations

from portal.core.errors import Conflict
from portal.operations.services import active_on
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import selectors
from vms.models import VM
from vms.states import Action


def require(actor: Actor, vm: VM, action: Action) -> None:
    """Forbidden where the role is too low; Conflict, with the reason and the running operation, where the state is."""
    actor.require(selectors.PERMISSION_OF.get(action, Permission.VM_WRITE), vm.tenant_id)
    operation = active_on("vm", vm.pk)
    verdict = selectors.actions(actor, vm, operation)[action]
    if verdict.allowed:
        return
    if operation is not None:
        raise Conflict(verdict.reason, code="operation_in_progress", extra={"operation": str(operation.pk)})
    code = "protected" if action is Action.DELETE and vm.is_protected else "wrong_state"
    raise Conflict(verdict.reason, code=code, extra={"status": vm.status})
