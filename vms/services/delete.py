"""Deleting machines: into the bin, back from there, and for good."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from portal.core import text
from portal.core.errors import Conflict
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from vms.models import VM, Lifecycle
from vms.services import guard, leases
from vms.states import Action
from vms.workflows.delete import DELETE
from vms.workflows.purge import PURGE
from vms.workflows.unbin import RESTORE


@transaction.atomic
def delete_vm(*, actor: Actor, vm: VM, purge: bool = False, until: datetime | None = None) -> Operation:
    """Into the bin for BERTH_BIN_HOURS, or until then; for good at once with `purge`, or where these hours are 0.

    In the bin it holds what it held. Data volumes survive it: they are detached when it goes for good.
    """
    guard.require(actor, vm, Action.DELETE)
    is_final = purge or (until is None and not settings.BIN_HOURS)
    vm.lifecycle = Lifecycle.DELETING
    vm.purge_at = None if is_final else until or timezone.now() + timedelta(hours=settings.BIN_HOURS)
    rows = VM.objects.unscoped("a machine in hand").filter(pk=vm.pk, is_protected=False)
    if not rows.update(lifecycle=vm.lifecycle, purge_at=vm.purge_at):  # protected between the look and the leap
        raise Conflict("It is protected against deletion; remove the protection first.", code="protected")
    if is_final:
        return _purge(actor, vm)
    return operations.submit(DELETE, actor=actor, target=vm, title=f"Delete {vm.name}", lane=vm.host_id)


@transaction.atomic
def restore_vm(*, actor: Actor, vm: VM, name: str | None = None) -> Operation:
    """Out of the bin with id, addresses, disks and power state; under another name where its own was taken meanwhile.

    A lease that has ended begins anew.
    Raises Forbidden, Invalid at the name, or Conflict: "duplicate" at the name, or the reason.
    """
    guard.require(actor, vm, Action.RESTORE)
    assert vm.binned_at is not None
    assert vm.purge_at is not None
    before = {"name": vm.name, "binned_at": vm.binned_at.isoformat(), "purge_at": vm.purge_at.isoformat()}
    vm.lifecycle, vm.binned_at, vm.purge_at = Lifecycle.BUILDING, None, None
    if name is not None:
        vm.name = text.no_id(text.hostname(name))
    try:
        with transaction.atomic():
            vm.save(update_fields=["lifecycle", "binned_at", "purge_at", "name"])
    except IntegrityError as error:
        words = f"Another machine has the name {vm.name} by now; give this one another."
        raise Conflict(words, code="duplicate", field="name") from error
    leases.renew(actor, vm)
    title = f"Restore {vm.name} from the bin"
    return operations.submit(RESTORE, actor=actor, target=vm, title=title, params=before, lane=vm.host_id)


@transaction.atomic
def purge_vm(*, actor: Actor, vm: VM) -> Operation:
    """Out of the bin for good."""
    guard.require(actor, vm, Action.PURGE)
    return _purge(actor, vm)


def _purge(actor: Actor, vm: VM) -> Operation:
    return operations.submit(PURGE, actor=actor, target=vm, title=f"Delete {vm.name} for good", lane=vm.host_id)
