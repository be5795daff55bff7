"""Starting, stopping and the like: each an operation."""

from __future__ import annotations

from django.db import transaction

from portal.operations import services as operations
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from vms.models import VM, Power
from vms.services import guard
from vms.states import Action
from vms.workflows import power as workflows

_TITLES = {
    Action.START: "Start",
    Action.STOP: "Stop",
    Action.REBOOT: "Reboot",
    Action.FORCE_OFF: "Force off",
    Action.PAUSE: "Pause",
    Action.RESUME: "Resume",
}
_DESIRED = {
    Action.START: Power.RUNNING,
    Action.STOP: Power.STOPPED,
    Action.FORCE_OFF: Power.STOPPED,
    Action.PAUSE: Power.PAUSED,
    Action.RESUME: Power.RUNNING,
}
ACTIONS = tuple(_TITLES)


@transaction.atomic
def change_power(*, actor: Actor, vm: VM, action: Action) -> Operation:
    """One of `ACTIONS`. Raises Forbidden, or Conflict with the reason."""
    guard.require(actor, vm, action)
    if action in _DESIRED:
        rows = VM.objects.unscoped("a machine in hand")
        rows.filter(pk=vm.pk).update(desired_power=_DESIRED[action])
    return operations.submit(
        workflows.WORKFLOWS[action], actor=actor, target=vm, title=f"{_TITLES[action]} {vm.name}", lane=vm.host_id
    )
