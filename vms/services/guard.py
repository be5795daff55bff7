"""What every action on a machine goes through first."""

from __future__ import annotations

from portal.core.errors import Conflict, NotFound
from portal.operations.services import active_on
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import selectors
from vms.models import VM
from vms.states import Action


def require(actor: Actor, vm: VM, action: Action) -> None:
    """Brings `vm` up to date, locked until the caller's transaction ends, and judges it as it is now.

    Forbidden where the role is too low; NotFound where it is gone by now; Conflict, with the reason and the running
    operation, where the state is in the way.
    """
    actor.require(selectors.PERMISSION_OF.get(action, Permission.VM_WRITE), vm.tenant_id)
    refresh(vm)
    operation = active_on("vm", vm.pk)
    verdict = selectors.actions(actor, vm, operation)[action]
    if verdict.allowed:
        return
    if operation is not None:
        raise Conflict(verdict.reason, code="operation_in_progress", extra={"operation": str(operation.pk)})
    code = "protected" if action is Action.DELETE and vm.is_protected else "wrong_state"
    raise Conflict(verdict.reason, code=code, extra={"status": vm.status})


def refresh(vm: VM) -> None:
    """The caller read it before its transaction began; much may have happened since."""
    rows = VM.objects.unscoped("fetched through the gate").select_for_update()
    try:
        vm.refresh_from_db(from_queryset=rows)
    except VM.DoesNotExist:
        raise NotFound("This machine is gone.") from None
