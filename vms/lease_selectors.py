"""Reads of leases."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from vms.lease import Terms
from vms.models import LeasePolicy


def terms_of(tenant_id: UUID) -> Terms:
    return terms_of_each([tenant_id])[tenant_id]


def terms_of_each(tenant_ids: Collection[UUID]) -> dict[UUID, Terms]:
    """One query."""
    found = {policy.tenant_id: policy.terms for policy in LeasePolicy.objects.filter(tenant_id__in=tenant_ids)}
    return {id: found.get(id, Terms()) for id in tenant_ids}
