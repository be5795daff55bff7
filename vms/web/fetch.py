"""Fetching what a page is about."""

from __future__ import annotations

from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from portal.core.errors import NotFound
from portal.operations.models import Operation
from portal.operations.services import active_on
from portal.tenancy.models import Tenant
from portal.web.actor import actor_of
from portal.web.tenant import tenant_of
from vms import selectors
from vms.models import VM, Nic
from vms.services.look import look_at


def vm_of(request: HttpRequest, slug: str, vm_id: UUID) -> tuple[VM, Operation | None]:
    """The machine in the address, with the operation that is under way on it. NotFound at another tenant's address."""
    tenant = tenant_of(request, slug)
    vm = look_at(actor_of(request), vm_id)
    if vm.tenant_id != tenant.pk:
        raise NotFound("There is no such virtual machine.")
    return vm, active_on("vm", vm.pk)


def rows_of(
    request: HttpRequest, tenant: Tenant, *, search: str = "", status: str = "", binned: bool = False
) -> QuerySet[VM]:
    """Machines with their address in the same query, as a list shows them."""
    rows = selectors.vms(
        actor_of(request), tenant=tenant, search=search, status=status, binned=binned
    ).prefetch_related(None)
    first = Nic.objects.filter(vm=OuterRef("pk")).order_by("id")
    return rows.annotate(
        address=Subquery(first.values("ip")[:1]), address_seen_at=Subquery(first.values("seen_at")[:1])
    )
