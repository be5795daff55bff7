"""Reads of affinity groups, and of how machines were placed."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from hosts.models import Placement
from portal.core.errors import NotFound
from portal.tenancy.gate import Actor, parse_id
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from vms.models import VM, AffinityGroup
from vms.states import ALLOWED, Verdict


def groups(actor: Actor, tenant: Tenant | None = None) -> QuerySet[AffinityGroup]:
    """Newest first, with their machines."""
    rows = AffinityGroup.objects.for_actor(actor).select_related("tenant").prefetch_related("members")
    return rows if tenant is None else rows.filter(tenant=tenant)


def group(actor: Actor, id: UUID | str, permission: Permission = Permission.VM_READ) -> AffinityGroup:
    actor.require_scope(permission)
    found = groups(actor).filter(pk=parse_id(id)).first()
    if found is None:
        raise NotFound("There is no such group.")
    actor.require(permission, found.tenant_id)
    return found


def may_change(actor: Actor, tenant_id: UUID) -> Verdict:
    if actor.can(Permission.VM_WRITE, tenant_id):
        return ALLOWED
    return Verdict(False, actor.why_not(Permission.VM_WRITE, tenant_id))


def placements(actor: Actor, vm: VM) -> QuerySet[Placement]:
    """The newest decisions on where it runs. For the provider's staff: they name hosts."""
    actor.require(Permission.HOST_READ)
    return Placement.objects.filter(holder_id=vm.pk)
