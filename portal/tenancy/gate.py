"""The one gate: who acts, what they may do, and the only ways to fetch what belongs to a tenant.

The order of refusals: scope of the token (403), not visible (404), role (403). tests/matrix.py holds every route to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar
from uuid import UUID

from django.db import models
from django.db.models import F

from portal.accounts.models import ApiToken, ProviderRole, User
from portal.core.errors import Forbidden, NotFound
from portal.tenancy.bars import STAFF_BAR, Bar, bar_of, has_second_factor
from portal.tenancy.roles import PERSONAL, PROVIDER_ROLES, TENANT_ROLES, Permission, Role

M = TypeVar("M", bound=models.Model)
ALL_SCOPES = "*"


@dataclass(frozen=True)
class Actor:
    """Whoever asks: a person in the browser, a program with a token, or the system itself (`user` is None).

    `memberships` maps tenant ids to roles, already narrowed to the token's tenant where it has one. `bars` say where a
    role is worth less than that at present, under None for the role across tenants.
    """

    user: User | None
    memberships: Mapping[UUID, Role] = field(default_factory=dict)
    provider_role: str = ProviderRole.NONE
    scopes: frozenset[str] = frozenset({ALL_SCOPES})
    source: str = "ui"
    request_id: str = ""
    only_tenant: UUID | None = None  # a token for one tenant
    bars: Mapping[UUID | None, Bar] = field(default_factory=dict)

    @property
    def is_provider(self) -> bool:
        return self.provider_role != ProviderRole.NONE

    @property
    def is_admin(self) -> bool:
        return self.provider_role == ProviderRole.ADMIN

    @cached_property
    def label(self) -> str:
        return self.user.get_username() if self.user else "system"

    def in_scope(self, permission: Permission) -> bool:
        return ALL_SCOPES in self.scopes or permission in self.scopes

    def can(self, permission: Permission, tenant_id: UUID | None = None) -> bool:
        """Whether the actor may do that, in that tenant, or to what belongs to the provider (`tenant_id` None)."""
        return self.in_scope(permission) and permission in self._permissions(tenant_id)

    def require(self, permission: Permission, tenant_id: UUID | None = None) -> None:
        """Raises Forbidden, with a reason for people."""
        self.require_scope(permission)
        if permission not in self._permissions(tenant_id):
            raise self._refusal(permission, tenant_id)

    def require_scope(self, permission: Permission) -> None:
        """What a token was not made for is refused before anything is looked up."""
        if not self.in_scope(permission):
            raise Forbidden(f'This token lacks the scope "{permission}".', code="scope_missing")

    def require_somewhere(self, permission: Permission) -> None:
        """For requests that name their tenant, or their targets, in the body: refuses who may do that nowhere."""
        self.require_scope(permission)
        if not any(self.can(permission, tenant_id) for tenant_id in (None, *self.memberships)):
            raise self._refusal(permission, next(iter(self.memberships), None))

    def why_not(self, permission: Permission, tenant_id: UUID | None = None) -> str:
        if (bar := self._bar(permission, tenant_id)) is not None:
            return bar.words
        role = self.memberships.get(tenant_id) if tenant_id else None
        if role and permission in TENANT_ROLES[Role.OWNER]:
            return f"Your role here is {role.label.lower()}; this needs more. Ask an owner of the tenant."
        if self.provider_role == ProviderRole.AUDITOR:
            return "Auditors read everything and change nothing."
        return "Only administrators of the provider may do that."

    def tenants_with(self, permission: Permission) -> list[UUID]:
        """Those where a membership gives it."""
        return [id for id in self.memberships if permission in self._granted_in(id)]

    def refuse_if_shut_out(self) -> None:
        """Forbidden, with the reason, to whom at least one membership gives nothing at present."""
        for tenant_id in self.memberships:
            if (bar := self.bars.get(tenant_id)) is not None and not bar.leaves:
                raise Forbidden(bar.words, code=bar.code)

    def _refusal(self, permission: Permission, tenant_id: UUID | None) -> Forbidden:
        bar = self._bar(permission, tenant_id)
        return Forbidden(self.why_not(permission, tenant_id), code=bar.code if bar else None)

    def _bar(self, permission: Permission, tenant_id: UUID | None) -> Bar | None:
        """What stands between the actor and what their role would give them."""
        role = self.memberships.get(tenant_id) if tenant_id else None
        if role and permission in TENANT_ROLES[role] and tenant_id in self.bars:
            return self.bars[tenant_id]
        return self.bars.get(None)

    def _permissions(self, tenant_id: UUID | None) -> frozenset[Permission]:
        granted = PERSONAL | PROVIDER_ROLES[self.provider_role]
        return granted | self._granted_in(tenant_id) if tenant_id in self.memberships else granted

    def _granted_in(self, tenant_id: UUID | None) -> frozenset[Permission]:
        assert tenant_id is not None
        granted = TENANT_ROLES[self.memberships[tenant_id]]
        return granted & self.bars[tenant_id].leaves if tenant_id in self.bars else granted


SYSTEM = Actor(user=None, provider_role=ProviderRole.ADMIN, source="system")


def actor_for(user: User, *, token: ApiToken | None = None, source: str = "ui", request_id: str = "") -> Actor:
    """The actor behind a request, with roles as they are now. One query, two for the provider's staff."""
    memberships, bars = _memberships(user)
    provider_role, scopes = user.provider_role, frozenset({ALL_SCOPES})
    if provider_role != ProviderRole.NONE and _lacks_factor_of_staff(user):
        provider_role, bars[None] = ProviderRole.NONE, STAFF_BAR
    if token is not None:
        scopes = frozenset(token.scopes)
        if token.tenant_id:
            memberships = _narrowed(memberships, token.tenant_id, provider_role)
            provider_role = ProviderRole.NONE
    only_tenant = token.tenant_id if token else None
    return Actor(user, memberships, provider_role, scopes, source, request_id, only_tenant, bars)


def _memberships(user: User) -> tuple[dict[UUID, Role], dict[UUID | None, Bar]]:
    """Roles by tenant, and what limits them at present."""
    from portal.tenancy.models import Membership

    rows = Membership.objects.filter(user=user, tenant__closed_at=None)
    facts = {name: F(f"tenant__{name}") for name in ("name", "needs_second_factor", "suspended_at", "suspended_for")}
    found = list(rows.values("tenant_id", "role", has_factor=has_second_factor(user), **facts))
    bars = {row["tenant_id"]: bar_of(row, has_factor=row["has_factor"]) for row in found}
    roles = {row["tenant_id"]: Role(row["role"]) for row in found}
    return roles, {id: bar for id, bar in bars.items() if bar is not None}


def _lacks_factor_of_staff(user: User) -> bool:
    from portal.tenancy.models import SignInPolicy

    rows = SignInPolicy.objects.filter(staff_need_second_factor=True)
    return rows.exclude(has_second_factor(user)).exists()


def _narrowed(memberships: Mapping[UUID, Role], tenant_id: UUID, provider_role: str) -> dict[UUID, Role]:
    """An administrator's token for one tenant acts there as an owner would, and nowhere else."""
    if tenant_id in memberships:
        return {tenant_id: memberships[tenant_id]}
    if provider_role == ProviderRole.ADMIN:
        return {tenant_id: Role.OWNER}
    return {tenant_id: Role.VIEWER} if provider_role == ProviderRole.AUDITOR else {}


def get(model: type[M], actor: Actor, permission: Permission, id: UUID | str, related: Sequence[str] = ()) -> M:
    """One object by its id. NotFound where the actor may not see it, Forbidden where they may not do that to it.

    `related` are names for select_related.
    """
    actor.require_scope(permission)
    queryset = model.objects.for_actor(actor).select_related(*related)  # type: ignore[attr-defined]
    found: M | None = queryset.filter(pk=parse_id(id)).first()
    if found is None:
        actor.refuse_if_shut_out()
        raise NotFound(f"There is no such {model._meta.verbose_name}.")
    actor.require(permission, getattr(found, "tenant_id", None))
    return found


def parse_id(value: UUID | str) -> UUID:
    """The UUID in any of its spellings; NotFound where it is none."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError) as error:
        raise NotFound("There is no such object.") from error
