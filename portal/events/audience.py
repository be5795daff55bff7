"""Who may hear of whom: the same rule as the gate's, kept small enough to be asked for each message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from portal.accounts.models import ProviderRole, User
from portal.events.live import EVERYBODY
from portal.tenancy.models import Membership


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom a user may hear of: the provider's staff of all, everybody else of the tenants they belong to."""

    hears_all: bool
    tenants: frozenset[str]

    def hears(self, tenant: str | None) -> bool:
        """`tenant` None is the provider's own, "*" everybody's."""
        return self.hears_all or tenant == EVERYBODY or (tenant is not None and tenant in self.tenants)


def audiences_of(user_ids: Collection[UUID]) -> dict[UUID, Audience]:
    """The audiences of the active ones among these users, in two queries however many they are."""
    roles = dict(User.objects.filter(pk__in=user_ids, is_active=True).values_list("pk", "provider_role"))
    tenants: defaultdict[UUID, set[str]] = defaultdict(set)
    memberships = Membership.objects.filter(user_id__in=list(roles), tenant__closed_at=None)
    for user_id, tenant_id in memberships.values_list("user_id", "tenant_id"):
        tenants[user_id].add(str(tenant_id))
    return {
        user_id: Audience(role != ProviderRole.NONE, frozenset(tenants[user_id])) for user_id, role in roles.items()
    }
