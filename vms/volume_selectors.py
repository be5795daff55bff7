"""Reads of volumes. Lists cost the same number of queries however long they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from django.db.models import QuerySet

from portal.core import text
from portal.core.errors import Invalid
from portal.operations.models import Operation
from portal.operations.selectors import active_on_each, in_the_way
from portal.tenancy import gate
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from vms.models import VM, SnapshotDisk, Volume
from vms.states import Verdict
from vms.volume_states import Facts, VolumeAction, verdicts

RELATED = ("tenant", "vm__host", "layer__pool__storage_class", "layer__pool__host")
STATUSES = ("creating", "available", "attaching", "attached", "detaching", "deleting")
_DOING = {
    "volume.create": "creating",
    "volume.attach": "attaching",
    "volume.detach": "detaching",
    "volume.delete": "deleting",
}


def volumes(
    actor: Actor,
    *,
    tenant: Tenant | None = None,
    vm: UUID | None = None,
    search: str = "",
    attached: bool | None = None,
) -> QuerySet[Volume]:
    """Newest first, with all that a row shows."""
    rows = Volume.objects.for_actor(actor).select_related(*RELATED).order_by("-created_at", "-id")
    if tenant is not None:
        rows = rows.filter(tenant=tenant)
    if vm is not None:
        rows = rows.filter(vm_id=vm)
    if attached is not None:
        rows = rows.filter(vm__isnull=not attached)
    return rows.filter(name__icontains=search) if search else rows


def of_machine(actor: Actor, vm: VM) -> list[Volume]:
    """Its disks, the one that it starts from first."""
    rows = Volume.objects.for_actor(actor).filter(vm=vm).select_related(*RELATED)
    return list(rows.order_by("target"))


def volume(actor: Actor, id: UUID | str, permission: Permission = Permission.VM_READ) -> Volume:
    return gate.get(Volume, actor, permission, id, related=RELATED)


def busy_with(volumes: Iterable[Volume]) -> dict[UUID, Operation]:
    """What works on each of them or on its machine now, by id of the volume. One query."""
    volumes = list(volumes)
    found = active_on_each({id for volume in volumes for id in (volume.pk, volume.vm_id) if id is not None})
    working = {volume.pk: found.get(volume.pk) or found.get(volume.vm_id or volume.pk) for volume in volumes}
    return {id: operation for id, operation in working.items() if operation is not None}


def with_snapshots(volumes: Iterable[Volume]) -> frozenset[UUID]:
    """Which of them snapshots have. One query."""
    rows = SnapshotDisk.objects.filter(volume__in=[volume.pk for volume in volumes])
    return frozenset(rows.values_list("volume_id", flat=True))


def actions(
    actor: Actor, volume: Volume, operation: Operation | None, *, has_snapshots: bool
) -> Mapping[VolumeAction, Verdict]:
    """What this actor may do with it now, and why not."""
    if not actor.can(Permission.VM_WRITE, volume.tenant_id):
        return dict.fromkeys(VolumeAction, Verdict(False, actor.why_not(Permission.VM_WRITE, volume.tenant_id)))
    facts = Facts(
        is_boot=volume.is_boot,
        vm_name=volume.vm.name if volume.vm else "",
        vm_status=volume.vm.status if volume.vm else "",
        vm_purge_at=volume.vm.purge_at if volume.vm else None,
        has_snapshots=has_snapshots,
        busy_with=in_the_way(operation),
    )
    return verdicts(facts)


def status_of(volume: Volume, operation: Operation | None) -> str:
    """One of STATUSES."""
    if operation is not None and operation.target_id == volume.pk and operation.kind in _DOING:
        return _DOING[operation.kind]
    return "attached" if volume.vm_id else "available"


def machine_for(actor: Actor, tenant: Tenant, reference: object, field: str = "vm") -> VM:
    """A machine of the tenant's, by id or by name, named in a body."""
    rows = VM.objects.for_actor(actor).filter(tenant=tenant)
    named = {"pk": UUID(str(reference))} if text.is_id(reference) else {"name": str(reference), "binned_at": None}
    found = rows.filter(**named).first()
    if found is None:
        raise Invalid("There is no such machine.", code="unknown_reference", field=field)
    return found
