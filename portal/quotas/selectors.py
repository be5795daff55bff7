"""Reads of quotas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.models import OuterRef, Subquery, Sum

from portal.quotas import ledger
from portal.quotas.models import RESOURCES, Claim, Quota
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission


@dataclass(frozen=True)
class Usage:
    """A tenant's limits (None: unlimited) and what it uses, by resource."""

    limits: Mapping[str, int | None]
    used: Mapping[str, int]


def usage(actor: Actor, tenant: Tenant) -> Usage:
    """One query."""
    actor.require(Permission.QUOTA_READ, tenant.pk)
    quota = Quota.objects.annotate(**{f"used_{resource}": _sum_of(resource) for resource in RESOURCES}).get(
        tenant=tenant
    )
    return Usage(quota.limits, {resource: getattr(quota, f"used_{resource}") or 0 for resource in RESOURCES})


def _sum_of(resource: str) -> Subquery:
    claims = Claim.objects.filter(account_id=OuterRef("tenant_id"), resource=resource).order_by()
    return Subquery(claims.values("account_id").annotate(total=Sum("amount")).values("total"))


def usages(actor: Actor, tenants: Sequence[Tenant]) -> list[Usage]:
    """Of each of these tenants, in the same order. Two queries, however many they are."""
    for tenant in tenants:
        actor.require(Permission.QUOTA_READ, tenant.pk)
    ids = [tenant.pk for tenant in tenants]
    quotas = Quota.objects.in_bulk(ids)
    used = ledger.used_by_account(ids)
    return [Usage(quotas[id].limits, {name: used.get(id, {}).get(name, 0) for name in RESOURCES}) for id in ids]
