"""Leases: until when a machine is there, as whoever may write to it says, within its tenant's policy."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from portal.core.errors import Conflict, Invalid
from portal.events import log
from portal.events.log import Change
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from vms.lease import (
    LONGEST_DAYS,
    LONGEST_OFF_DAYS,
    LONGEST_WARN_DAYS,
    NOTICE,
    Demand,
    Stage,
    Terms,
    furthest,
    usual_end,
)
from vms.lease_selectors import terms_of
from vms.models import VM, LeaseNotice, LeasePolicy
from vms.services import guard
from vms.states import Action

FIELD = "expires_at"


def end_for_new(tenant: Tenant, wanted: datetime | None) -> datetime | None:
    """Until when a new machine of the tenant is there: as it is wanted, else the usual where one is demanded."""
    terms, now = terms_of(tenant.pk), timezone.now()
    if wanted is not None:
        return _checked(terms, wanted, now)
    return usual_end(terms, now) if terms.demand == Demand.DEMANDED else None


@transaction.atomic
def change(*, actor: Actor, vm: VM, expires_at: datetime | None) -> VM:
    """Another date, or none. With another one it begins anew: it is warned again, and may be started.

    Raises Invalid at the field, Forbidden, or Conflict where it is in the bin.
    """
    actor.require(Permission.VM_WRITE, vm.tenant_id)
    guard.refresh(vm)
    if vm.status == "deleting":
        words = "It is in the bin; restore it first." if vm.is_binned else "It is being deleted."
        raise Conflict(words, code="wrong_state", extra={"status": vm.status})
    terms, now = terms_of(vm.tenant_id), timezone.now()
    if expires_at is not None:
        expires_at = _checked(terms, expires_at, now)
    elif terms.demand == Demand.DEMANDED:
        raise Invalid("Machines of this tenant need an expiry date.", code="required", field=FIELD)
    if expires_at != vm.expires_at:
        _set(actor, vm, expires_at)
    return vm


@transaction.atomic
def extend(*, actor: Actor, vm: VM, expires_at: datetime | None = None) -> VM:
    """To that date; without one as far as is usual from now on, and never to an earlier one."""
    guard.require(actor, vm, Action.EXTEND)
    terms, now = terms_of(vm.tenant_id), timezone.now()
    assert vm.expires_at is not None
    if expires_at is None:
        expires_at = max(vm.expires_at, usual_end(terms, now))
    else:
        expires_at = _checked(terms, expires_at, now)
        if expires_at < vm.expires_at:
            raise Invalid("That is before its present end. Change its date instead.", field=FIELD)
    if expires_at != vm.expires_at:
        _set(actor, vm, expires_at)
    return vm


def renew(actor: Actor, vm: VM) -> None:
    """One that comes back from the bin: where its lease has ended, or one is demanded by now, it gets the usual one."""
    terms, now = terms_of(vm.tenant_id), timezone.now()
    is_over = vm.expires_at is not None and (vm.is_lease_over or vm.expires_at < now + NOTICE)
    if is_over or (vm.expires_at is None and terms.demand == Demand.DEMANDED):
        _set(actor, vm, usual_end(terms, now))


@transaction.atomic
def set_policy(*, actor: Actor, tenant: Tenant, terms: Terms) -> Terms:
    """What is asked of the tenant's machines from now on. For administrators.

    NONE ends the leases that there are; DEMANDED gives the usual one to machines without. Dates that are there stay,
    also where they are further away than is allowed from now on.
    """
    actor.require(Permission.QUOTA_WRITE, tenant.pk)
    _check(terms)
    before = terms_of(tenant.pk)
    facts = _facts(terms)
    LeasePolicy.objects.update_or_create(tenant=tenant, defaults=facts)
    log.record("tenant.lease-policy-changed", actor=actor, target=tenant, before=_facts(before), after=facts)
    _apply(actor, tenant.pk, terms, timezone.now())
    return terms


def apply_policies(actor: Actor, now: datetime) -> None:
    """To machines that were made at the moment when a policy was changed."""
    for policy in LeasePolicy.objects.exclude(demand=Demand.OPTIONAL):
        _apply(actor, policy.tenant_id, policy.terms, now)


@transaction.atomic
def _apply(actor: Actor, tenant_id: UUID, terms: Terms, now: datetime) -> None:
    machines = VM.objects.unscoped("of a tenant in hand").filter(tenant_id=tenant_id)
    if terms.demand == Demand.NONE:
        _set_all(actor, list(machines.exclude(expires_at=None)), None)
    elif terms.demand == Demand.DEMANDED:
        _set_all(actor, list(machines.filter(expires_at=None, binned_at=None)), usual_end(terms, now))


def _checked(terms: Terms, wanted: datetime, now: datetime) -> datetime:
    if terms.demand == Demand.NONE:
        raise Invalid("Machines of this tenant have no expiry date.", code="no_leases", field=FIELD)
    if wanted < now + NOTICE:
        raise Invalid("Use a time at least a day from now.", code="too_soon", field=FIELD)
    if wanted > furthest(terms, now):
        days = terms.longest_days or LONGEST_DAYS
        raise Invalid(f"Use a time at most {days} days from now.", code="too_far", field=FIELD)
    return wanted


def _check(terms: Terms) -> None:
    longest = terms.longest_days
    if longest is not None and not 2 <= longest <= LONGEST_DAYS:
        raise Invalid(f"Use 2 to {LONGEST_DAYS} days, or null for no limit.", field="longest_days")
    if not 1 <= terms.warn_days <= LONGEST_WARN_DAYS:
        raise Invalid(f"Use 1 to {LONGEST_WARN_DAYS} days.", field="warn_days")
    if not 0 <= terms.off_days <= LONGEST_OFF_DAYS:
        raise Invalid(f"Use 0 to {LONGEST_OFF_DAYS} days.", field="off_days")


def _set(actor: Actor, vm: VM, expires_at: datetime | None) -> None:
    _set_all(actor, [vm], expires_at)


def _set_all(actor: Actor, machines: list[VM], expires_at: datetime | None) -> None:
    """What was to be told of the lease until now is true no more."""
    if not machines:
        return
    now = timezone.now()
    changes = [Change(vm, _told(vm.expires_at), _told(expires_at)) for vm in machines]
    log.record_all("vm.lease-changed", actor=actor, changes=changes)
    LeaseNotice.objects.filter(vm__in=machines).delete()
    values: dict[str, Any] = {"expires_at": expires_at, "lease_stage": Stage.RUNNING, "lease_since": now}
    VM.objects.unscoped("machines in hand").filter(pk__in=[vm.pk for vm in machines]).update(**values)
    for vm in machines:
        vm.expires_at, vm.lease_stage, vm.lease_since = expires_at, Stage.RUNNING, now


def _told(moment: datetime | None) -> dict[str, str | None]:
    return {"expires_at": moment.isoformat(timespec="minutes") if moment else None}


def _facts(terms: Terms) -> dict[str, Any]:
    return {
        "demand": str(terms.demand),
        "longest_days": terms.longest_days,
        "warn_days": terms.warn_days,
        "off_days": terms.off_days,
    }
