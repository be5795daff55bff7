"""What approving a request means: of each limit that it raises, what is promised to all tenants and what there is."""

from __future__ import annotations

from dataclasses import dataclass

from portal.quotas import capacity, grants, ledger
from portal.quotas.models import IncreaseRequest, Quota
from portal.tenancy.models import Tenant


@dataclass(frozen=True)
class Consequence:
    """`limit` and `wanted` are the tenant's, `used` what it uses; `promised` are the limits of all tenants together,
    None where one has none; `capacity` is what there is, None where that has no bound."""

    resource: str
    used: int
    limit: int | None
    wanted: int
    promised: int | None
    promised_after: int | None
    capacity: int | None

    @property
    def over_commit(self) -> float | None:
        """How many times over what there is is promised now."""
        return _ratio(self.promised, self.capacity)

    @property
    def over_commit_after(self) -> float | None:
        return _ratio(self.promised_after, self.capacity)

    @property
    def fits(self) -> bool:
        """What is promised afterwards is there."""
        if self.capacity is None:
            return True
        return self.promised_after is not None and self.promised_after <= self.capacity


def of(request: IncreaseRequest) -> list[Consequence]:
    """In four queries, and those of who has the hosts."""
    limits = limits_of_all()
    own, used, there = limits[request.tenant_id], ledger.used(request.tenant_id), capacity.sellable()
    return [
        _consequence(resource, wanted, own[resource], used.get(resource, 0), limits, there.get(resource))
        for resource, wanted in request.wanted.items()
    ]


def limits_of_all() -> dict[object, dict[str, int | None]]:
    """What holds at present for each tenant that is open."""
    running: dict[object, list[IncreaseRequest]] = {}
    for grant in grants.running():
        running.setdefault(grant.tenant_id, []).append(grant)
    open_tenants = Tenant.objects.unscoped("what is promised to all").filter(closed_at=None)
    quotas = Quota.objects.filter(tenant__in=open_tenants)
    return {quota.tenant_id: grants.raised(quota.limits, running.get(quota.tenant_id, [])) for quota in quotas}


def _consequence(
    resource: str,
    wanted: int,
    limit: int | None,
    used: int,
    limits: dict[object, dict[str, int | None]],
    there: int | None,
) -> Consequence:
    given = [each[resource] for each in limits.values()]
    promised = None if None in given else sum(each or 0 for each in given)
    after = None if promised is None else promised + max(0, wanted - (limit or 0))
    return Consequence(resource, used, limit, wanted, promised, after, there)


def _ratio(promised: int | None, there: int | None) -> float | None:
    return round(promised / there, 2) if promised is not None and there else None
