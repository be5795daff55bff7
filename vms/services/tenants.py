"""The end of a tenant, and the pause before it: suspended, closed, purged.

What is decided is a row; what follows for machines and disks is done by the operations that there are for each of them.
`follow` begins these, again and again, until nothing is left to do: so it finds its way after any crash, and goes on
where a host was away. It is rung by beat.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from portal.core import text
from portal.core.errors import Conflict, DomainError, Invalid
from portal.events import log
from portal.operations.selectors import last_operation
from portal.operations.states import State
from portal.tenancy.gate import SYSTEM, Actor
from portal.tenancy.models import Invitation, Membership, Tenant
from portal.tenancy.roles import Permission
from vms.models import VM, Backup, Image, Lifecycle, Power, Volume
from vms.services import backups, images, power, volumes
from vms.services.delete import delete_vm, purge_vm
from vms.states import Action

WARDEN = replace(SYSTEM, source="suspension")
CLOSER = replace(SYSTEM, source="closing")
SHORTEST_DAYS, DAYS, LONGEST_DAYS = 1, 30, 365
MOST_AT_ONCE = 50
logger = logging.getLogger(__name__)


@transaction.atomic
def suspend(*, actor: Actor, tenant: Tenant, reason: str, stop_machines: bool = True) -> Tenant:
    """Its members read, change nothing from now on, and are told the reason; its machines are stopped, unless not."""
    actor.require(Permission.TENANT_SUSPEND, tenant.pk)
    reason = text.label(reason, field="reason", longest=300)
    values = {"suspended_at": timezone.now(), "suspended_for": reason, "stops_machines": stop_machines}
    _change(tenant, {"suspended_at": None, "closed_at": None}, values, "It is suspended or closed already.")
    after = {"reason": reason, "machines": "stopped" if stop_machines else "left"}
    log.record("tenant.suspended", actor=actor, target=tenant, after=after)
    return tenant


@transaction.atomic
def resume(*, actor: Actor, tenant: Tenant, start_machines: bool = True) -> Tenant:
    """Its members may do what they might; machines that the suspension stopped are started again, unless not."""
    actor.require(Permission.TENANT_SUSPEND, tenant.pk)
    if tenant.suspended_at is None:
        raise Conflict("It is not suspended.", code="wrong_state")
    values = {"suspended_at": None, "suspended_for": "", "stops_machines": False}
    _change(tenant, {"closed_at": None}, values, "It is closed.")
    log.record("tenant.resumed", actor=actor, target=tenant)
    if start_machines:
        for vm in _machines(tenant).filter(observed_power=Power.STOPPED, binned_at=None):
            if _was_stopped_by_us(vm):
                _try(partial(power.change_power, actor=WARDEN, vm=vm, action=Action.START))
    return tenant


@transaction.atomic
def close(*, actor: Actor, tenant: Tenant, confirmation: str, days: int = DAYS) -> Tenant:
    """Hidden from its members at once; its machines go to the bin, and all that it has is deleted after `days`.

    `confirmation` is its slug. Until then `reopen` brings it back.
    """
    actor.require(Permission.TENANT_CLOSE, tenant.pk)
    if confirmation != tenant.slug:
        raise Invalid(f"Type {tenant.slug} to confirm.", code="not_confirmed", field="confirmation")
    if not SHORTEST_DAYS <= days <= LONGEST_DAYS:
        raise Invalid(f"Use {SHORTEST_DAYS} to {LONGEST_DAYS} days.", field="days")
    now = timezone.now()
    values = {"closed_at": now, "purge_at": now + timedelta(days=days)}
    _change(tenant, {"closed_at": None}, values, "It is closed already.")
    log.record("tenant.closed", actor=actor, target=tenant, after={"purge_at": values["purge_at"].isoformat()})
    return tenant


@transaction.atomic
def reopen(*, actor: Actor, tenant: Tenant) -> Tenant:
    """Its members have it back; machines lie in the bin, from which they restore them. Conflict once it is purged."""
    actor.require(Permission.TENANT_SUSPEND, tenant.pk)
    if tenant.closed_at is None:
        raise Conflict("It is not closed.", code="wrong_state")
    if tenant.purge_at is not None and tenant.purge_at <= timezone.now():
        raise Conflict("Its end was begun: what it had is being deleted.", code="wrong_state")
    values: dict[str, Any] = {"closed_at": None, "purge_at": None}
    _change(tenant, {"purged_at": None}, values, "It is gone.")
    log.record("tenant.reopened", actor=actor, target=tenant)
    return tenant


def follow(now: datetime) -> None:
    """Begin what suspended and closed tenants still need. What is busy or refused is tried the next time."""
    rows = Tenant.objects.unscoped("by the clock")
    for tenant in rows.filter(suspended_at__isnull=False, stops_machines=True, closed_at=None):
        stop_machines(tenant, WARDEN)
    for tenant in rows.filter(closed_at__isnull=False, purged_at=None):
        _fill_bin(tenant)
        if tenant.purge_at is not None and tenant.purge_at <= now:
            _purge(tenant, now)


def _change(tenant: Tenant, where: dict[str, Any], values: dict[str, Any], otherwise: str) -> None:
    """By one conditional UPDATE, so that of two only one is first."""
    rows = Tenant.objects.unscoped("in hand").filter(pk=tenant.pk, **where)
    if not rows.update(**values):
        raise Conflict(otherwise, code="wrong_state")
    for name, value in values.items():
        setattr(tenant, name, value)


def _machines(tenant: Tenant) -> QuerySet[VM]:
    return VM.objects.unscoped("of a tenant that ends").filter(tenant=tenant).select_related("tenant", "host")


def stop_machines(tenant: Tenant, actor: Actor) -> None:
    """By the power key; one that did not listen, and one that is paused, by force."""
    on = _machines(tenant).filter(lifecycle=Lifecycle.READY, binned_at=None, is_missing=False)
    for vm in on.exclude(observed_power=Power.STOPPED)[:MOST_AT_ONCE]:
        last = last_operation(SYSTEM, vm.pk)
        is_deaf = last is not None and last.source == actor.source and last.state == State.FAILED
        action = Action.FORCE_OFF if is_deaf or vm.observed_power == Power.PAUSED else Action.STOP
        _try(partial(power.change_power, actor=actor, vm=vm, action=action))


def _was_stopped_by_us(vm: VM) -> bool:
    last = last_operation(SYSTEM, vm.pk)
    return last is not None and last.source == WARDEN.source and last.state == State.SUCCEEDED


def _fill_bin(tenant: Tenant) -> None:
    waiting = _machines(tenant).filter(binned_at=None).exclude(lifecycle=Lifecycle.DELETING)
    for vm in waiting[:MOST_AT_ONCE]:
        VM.objects.unscoped("a machine in hand").filter(pk=vm.pk).update(is_protected=False)
        _try(partial(delete_vm, actor=CLOSER, vm=vm, until=tenant.purge_at))


def _things(tenant: Tenant) -> dict[str, QuerySet[Any]]:
    """In the order in which they can go."""
    own = {"tenant": tenant}
    return {
        "machines": VM.objects.unscoped("of a tenant that ends").filter(**own),
        "volumes": Volume.objects.unscoped("of a tenant that ends").filter(**own),
        "backups": Backup.objects.unscoped("of a tenant that ends").filter(**own),
        "images": Image.objects.unscoped("of a tenant that ends").filter(**own),
    }


_END: dict[str, Callable[[Any], object]] = {
    "machines": lambda vm: purge_vm(actor=CLOSER, vm=vm),
    "volumes": lambda volume: volumes.delete_volume(actor=CLOSER, volume=volume),
    "backups": lambda backup: backups.delete(actor=CLOSER, backup=backup),
    "images": lambda image: images.delete_image(actor=CLOSER, image=image),
}


def _purge(tenant: Tenant, now: datetime) -> None:
    """One kind after the other; when nothing is left, the memberships, and the slug is free."""
    for name, rows in _things(tenant).items():
        found = list(rows[:MOST_AT_ONCE])
        for each in found:
            _try(partial(_END[name], each))
        if found:
            return
    with transaction.atomic():
        slug = tenant.slug
        tenant.slug = f"closed-{tenant.pk.hex}"
        tenant.purged_at = now
        tenant.save(update_fields=["slug", "purged_at"])
        Membership.objects.filter(tenant=tenant).delete()
        Invitation.objects.filter(tenant=tenant).delete()
        log.record("tenant.purged", actor=CLOSER, target=tenant, before={"slug": slug})


def _try(act: Callable[[], object]) -> None:
    try:
        act()
    except DomainError as refusal:
        logger.info("not yet: %s", refusal.detail)
