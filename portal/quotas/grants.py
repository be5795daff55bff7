"""Increases for a time. They are read with the clock wherever a limit is asked for, so they end by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from django.utils import timezone

from portal.quotas.models import IncreaseRequest, Quota, RequestState

Limits = Mapping[str, int | None]


def limits_of(quota: Quota) -> dict[str, int | None]:
    """What holds at present. One query."""
    return raised(quota.limits, running([quota.tenant_id]))


def running(tenant_ids: Iterable[UUID] | None = None) -> list[IncreaseRequest]:
    """Those of these tenants, or of all, that raise a limit now."""
    rows = IncreaseRequest.objects.unscoped("limits of tenants in hand").filter(state=RequestState.APPROVED)
    rows = rows.filter(ends_at__gt=timezone.now())
    return list(rows if tenant_ids is None else rows.filter(tenant_id__in=list(tenant_ids)))


def raised(limits: Limits, grants: Iterable[IncreaseRequest]) -> dict[str, int | None]:
    """Pure: a grant never lowers a limit, and no limit stays none."""
    result = dict(limits)
    for grant in grants:
        for resource, limit in grant.wanted.items():
            lasting = result.get(resource)
            result[resource] = None if lasting is None else max(lasting, limit)
    return result
