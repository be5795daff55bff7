"""Changing a machine: its size, its name, its protection."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import IntegrityError, transaction

from hosts import placement
from portal.core import text
from portal.core.errors import Conflict, Invalid
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.quotas import services as quotas
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import promises, selectors
from vms.models import VM
from vms.services import guard
from vms.states import Action
from vms.workflows.resize import RESIZE


@transaction.atomic
def resize(*, actor: Actor, vm: VM, flavor: str) -> Operation:
    """Another size, while it is off. Disks never shrink. What is claimed meanwhile is the larger of both sizes.

    Its own size again takes over what is promised of that now, where it was made under another promise.
    """
    guard.require(actor, vm, Action.RESIZE)
    wanted = selectors.flavor(flavor, field="flavor")
    if wanted.disk_gib < vm.disk_gib <= vm.flavor.disk_gib:  # one that was grown by itself stays as it is
        raise Invalid("A disk cannot shrink; choose a size with at least as much.", code="disk_shrinks", field="flavor")
    if wanted.memory_mib < vm.image.min_memory_mib:
        raise Invalid(f"{vm.image.name} needs {vm.image.min_memory_mib} MiB.", code="flavor_too_small", field="flavor")
    after = {"vcpus": wanted.vcpus, "memory_mib": wanted.memory_mib, "disk_gib": max(wanted.disk_gib, vm.disk_gib)}
    meanwhile = _larger(vm.wanted, after)
    quotas.hold(vm.tenant, vm.pk, {"vms": 1, **meanwhile}, field="flavor")
    promised = promises.kept_by(vm, vm.host, wanted.promise())
    if wanted.pk == vm.flavor_id and all(getattr(vm, name) == value for name, value in promised.items()):
        raise Invalid("It has this size already.", code="same_flavor", field="flavor")
    placement.resize(vm.host, vm.pk, meanwhile)
    params = {"flavor": str(wanted.pk), "before": vm.wanted, "after": after, "promised": promised}
    return operations.submit(
        RESIZE, actor=actor, target=vm, title=f"Resize {vm.name} to {wanted.name}", params=params, lane=vm.host_id
    )


def _larger(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {resource: max(one[resource], other[resource]) for resource in one}


@transaction.atomic
def rename(*, actor: Actor, vm: VM, name: str) -> VM:
    """Its name in the portal; the hostname inside stays what the guest makes of it."""
    guard.require(actor, vm, Action.RENAME)
    before, vm.name = vm.name, text.no_id(text.hostname(name))
    try:
        with transaction.atomic():
            vm.save(update_fields=["name"])
    except IntegrityError as error:
        raise Conflict("A machine of this tenant has this name already.", code="duplicate", field="name") from error
    log.record("vm.renamed", actor=actor, target=vm, before={"name": before}, after={"name": vm.name})
    return vm


@transaction.atomic
def protect(*, actor: Actor, vm: VM, protected: bool) -> VM:
    """Set or clear the protection against deletion; no effect where it is so already."""
    if vm.is_protected == protected:
        actor.require(Permission.VM_WRITE, vm.tenant_id)
        return vm
    guard.require(actor, vm, Action.PROTECT if protected else Action.UNPROTECT)
    vm.is_protected = protected
    vm.save(update_fields=["is_protected"])
    kind = "vm.protected" if protected else "vm.unprotected"
    log.record(kind, actor=actor, target=vm, before={"protected": not protected}, after={"protected": protected})
    return vm
