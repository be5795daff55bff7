"""Cloning machines."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from hosts import placement
from portal.core import text
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.quotas import services as quotas
from portal.tenancy.gate import Actor
from vms.models import VM
from vms.services import guard
from vms.services.create import save_new
from vms.states import Action
from vms.workflows.clone import CLONE

MODES = ("full",)


@transaction.atomic
def clone_vm(*, actor: Actor, vm: VM, name: str) -> tuple[VM, Operation]:
    """A new machine of the same tenant, size and host with a copy of the disk, an identity of its own, and running.

    The source is off, and held until the copy is made. Raises Invalid at the field, Forbidden, Exceeded (quota),
    NoCapacity, or Conflict (name taken, or the source's state is in the way).
    """
    guard.require(actor, vm, Action.CLONE)
    new = VM(
        tenant=vm.tenant,
        name=text.hostname(name),
        flavor=vm.flavor,
        image=vm.image,
        vcpus=vm.vcpus,
        memory_mib=vm.memory_mib,
        disk_gib=vm.disk_gib,
        firmware=vm.firmware,
        ssh_keys=vm.ssh_keys,
        user_data=vm.user_data,
        observed_since=timezone.now(),
        created_by=actor.label,
    )
    quotas.hold(vm.tenant, new.pk, {"vms": 1, **new.wanted})
    placement.place_on(vm.host, new.pk, new.wanted)
    new.host = vm.host
    boot = save_new(new, stands_on=None)
    operation = operations.submit(
        CLONE,
        actor=actor,
        target=new,
        title=f"Clone {vm.name} as {new.name}",
        params={"source": str(vm.pk)},
        lane=vm.host_id,
        after={"source": vm.name, **new.wanted},
        holds=[vm, boot.layer],
    )
    log.record("vm.clone_asked", actor=actor, target=vm, operation_id=operation.pk, after={"as": new.name})
    return new, operation
