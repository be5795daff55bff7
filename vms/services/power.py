"""Starting, stopping and the like: each an operation."""

from __future__ import annotations

from django.db import transaction

from portal.operations import services as operations
from portal.operations.models import Operation
from portal.quotas import blocks
from portal.tenancy.gate import Actor
from vms.models import VM
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
ACTIONS = tuple(_TITLES)


@transaction.atomic
def change_power(*, actor: Actor, vm: VM, action: Action) -> Operation:
    """One of `ACTIONS`. Raises Forbidden, or Conflict with the reason."""
    guard.require(actor, vm, action)
    if action in (Action.START, Action.RESUME):
        blocks.refuse_start(vm.tenant_id)
    wish = {"before": vm.desired_power, "after": workflows.AIMS.get(action, vm.desired_power)}
    VM.objects.unscoped("a machine in hand").filter(pk=vm.pk).update(desired_power=wish["after"])
    return operations.submit(
        workflows.WORKFLOWS[action],
        actor=actor,
        target=vm,
        title=f"{_TITLES[action]} {vm.name}",
        params=wish,
        lane=vm.host_id,
    )
