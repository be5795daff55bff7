"""What every action on a volume goes through first."""

from __future__ import annotations

from portal.core.errors import Conflict, NotFound
from portal.operations.services import active_on
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import volume_selectors
from vms.models import VM, Volume
from vms.volume_states import VolumeAction


def require(actor: Actor, volume: Volume, action: VolumeAction) -> None:
    """Brings `volume` up to date, locked with its machine until the caller's transaction ends, and judges it.

    Forbidden, NotFound, or Conflict with the reason, as vms.services.guard does for machines.
    """
    actor.require(Permission.VM_WRITE, volume.tenant_id)
    _lock(volume)
    operation = active_on("volume", volume.pk) or (active_on("vm", volume.vm_id) if volume.vm_id else None)
    has_snapshots = volume.pk in volume_selectors.with_snapshots([volume])
    verdict = volume_selectors.actions(actor, volume, operation, has_snapshots=has_snapshots)[action]
    if verdict.allowed:
        return
    if operation is not None:
        raise Conflict(verdict.reason, code="operation_in_progress", extra={"operation": str(operation.pk)})
    raise Conflict(verdict.reason, code="wrong_state", extra={"status": volume_selectors.status_of(volume, operation)})


def _lock(volume: Volume) -> None:
    """The machine first, as everybody else does, so that two never wait for each other."""
    before = volume.vm_id
    if before:
        list(VM.objects.unscoped("a volume in hand").select_for_update().filter(pk=before))
    rows = Volume.objects.unscoped("fetched through the gate").select_for_update(of=("self",))
    found = rows.filter(pk=volume.pk).first()
    if found is None:
        raise NotFound("This volume is gone.")
    if found.vm_id != before:
        raise Conflict("It has changed since; look at it again.", code="wrong_state")
    volume.refresh_from_db(
        from_queryset=Volume.objects.unscoped("just locked").select_related(*volume_selectors.RELATED)
    )
