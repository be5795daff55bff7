"""Deleting machines."""

from __future__ import annotations

from django.db import transaction

from portal.core.errors import Conflict
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from vms.models import VM, Lifecycle
from vms.services import guard
from vms.states import Action
from vms.workflows.delete import DELETE


@transaction.atomic
def delete_vm(*, actor: Actor, vm: VM) -> Operation:
    """For good, with its disks. What it claims is given back when the host has let go of it."""
    guard.require(actor, vm, Action.DELETE)
    rows = VM.objects.unscoped("a machine in hand").filter(pk=vm.pk, is_protected=False)
    if not rows.update(lifecycle=Lifecycle.DELETING):  # protected between the look and the leap
        raise Conflict("It is protected against deletion; remove the protection first.", code="protected")
    vm.lifecycle = Lifecycle.DELETING
    return operations.submit(DELETE, actor=actor, target=vm, title=f"Delete {vm.name}", lane=vm.host_id)
