"""Quotas: what a tenant may use, checked in the transaction that accepts a request."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from django.db import transaction

from portal.core.errors import Invalid
from portal.events import log
from portal.quotas import blocks, grants, ledger, words
from portal.quotas.models import RESOURCES, Quota
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission

MOST = 2**31 - 1


def hold(tenant: Tenant, holder_id: UUID, wanted: Mapping[str, int], *, field: str | None = None) -> None:
    """Take from the tenant's quota, or raise ledger.Exceeded with words for the tenant.

    Raises BudgetExceeded where its budget lets it grow no further: no path that claims can forget that.
    `field` is where the size was chosen; how many machines there are is no field's fault.
    """
    blocks.refuse_growth(tenant.pk, holder_id, wanted)
    quota = Quota.objects.get(tenant=tenant)
    try:
        ledger.hold(tenant.pk, holder_id, wanted, grants.limits_of(quota))
    except ledger.Exceeded as refusal:
        facts, resource = refusal.extra, refusal.extra["resource"]
        raise ledger.Exceeded(
            f"{words.reached(**facts)} {words.advice(resource)}",
            field=None if resource in words.COUNTED else field,
            extra=facts,
        ) from refusal


@transaction.atomic
def set_limits(*, actor: Actor, tenant: Tenant, limits: Mapping[str, int | None]) -> Quota:
    """Change some limits. Below present use is allowed: it blocks growth and harms nothing that exists."""
    actor.require(Permission.QUOTA_WRITE, tenant.pk)
    for resource, limit in limits.items():
        if resource not in RESOURCES:
            raise Invalid("There is no such limit.", code="unknown_field", field=resource)
        if limit is not None and not 0 <= limit <= MOST:
            raise Invalid(f"Use a whole number from 0 to {MOST}, or null for no limit.", field=resource)
    quota = Quota.objects.get(tenant=tenant)
    before = quota.limits
    for resource, limit in limits.items():
        setattr(quota, resource, limit)
    quota.save(update_fields=list(limits) or None)
    log.record("quota.changed", actor=actor, target=tenant, before=before, after=quota.limits)
    return quota
