"""Reads of quotas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.models import OuterRef, Subquery, Sum

from portal.quotas import grants, ledger
from portal.quotas.models import RESOURCES, Claim, IncreaseRequest, Quota
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission


@dataclass(frozen=True)
class Usage:
    """A tenant's limits (None: unlimited) and what it uses, by resource.

    `limits` hold at present; `lasting` are those without the increases that end.
    """

    limits: Mapping[str, int | None]
    used: Mapping[str, int]
    lasting: Mapping[str, int | None]


def usage(actor: Actor, tenant: Tenant) -> Usage:
    """Two queries."""
    actor.require(Permission.QUOTA_READ, tenant.pk)
    quota = Quota.objects.annotate(**{f"used_{resource}": _sum_of(resource) for resource in RESOURCES}).get(
        tenant=tenant
    )
    used = {resource: getattr(quota, f"used_{resource}") or 0 for resource in RESOURCES}
    return Usage(grants.limits_of(quota), used, quota.limits)


def _sum_of(resource: str) -> Subquery:
    claims = Claim.objects.filter(account_id=OuterRef("tenant_id"), resource=resource).order_by()
    return Subquery(claims.values("account_id").annotate(total=Sum("amount")).values("total"))


def usages(actor: Actor, tenants: Sequence[Tenant]) -> list[Usage]:
    """Of each of these tenants, in the same order. Three queries, however many they are."""
    for tenant in tenants:
        actor.require(Permission.QUOTA_READ, tenant.pk)
    ids = [tenant.pk for tenant in tenants]
    quotas = Quota.objects.in_bulk(ids)
    used, running = ledger.used_by_account(ids), grants.running(ids)
    return [_usage(quotas[id], used.get(id, {}), [each for each in running if each.tenant_id == id]) for id in ids]


def _usage(quota: Quota, used: Mapping[str, int], running: Sequence[IncreaseRequest]) -> Usage:
    in_use = {name: used.get(name, 0) for name in RESOURCES}
    return Usage(grants.raised(quota.limits, running), in_use, quota.limits)
