"""Looking at a machine: what the provider's staff see of a tenant's is told in that tenant's log."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from portal.events import log
from portal.events.models import Event
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import selectors
from vms.models import VM

SEEN = "vm.seen-by-staff"
TOLD_EVERY = timedelta(hours=1)  # a page that is open fetches its parts again and again


def look_at(actor: Actor, id: UUID | str) -> VM:
    """As selectors.vm."""
    vm = selectors.vm(actor, id, Permission.VM_READ)
    if actor.user is not None and actor.is_provider and vm.tenant_id not in actor.memberships:
        _tell(actor, vm)
    return vm


def _tell(actor: Actor, vm: VM) -> None:
    lately = Event.objects.unscoped("of a machine in hand").filter(target_id=vm.pk, at__gt=timezone.now() - TOLD_EVERY)
    if not lately.filter(kind=SEEN, user=actor.user).exists():
        with transaction.atomic():
            log.record(SEEN, actor=actor, target=vm, role=str(actor.provider_role))
